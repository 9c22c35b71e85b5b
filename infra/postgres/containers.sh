#!/bin/bash
# Runs once, when the container makes its cluster: the role that owns the read models, and their database.
set -euo pipefail
password=$(cat "$HELIX_OWNER_PASSWORD_FILE")
case "$password" in
    *[!0-9A-Za-z_-]*) echo "the owner's password may have letters, digits, - and _ only" >&2; exit 1 ;;
esac
sed "s/:owner_password/$password/" /helix/roles.sql |
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --command 'create database helix owner helix'
