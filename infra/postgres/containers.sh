#!/bin/bash
# Runs once, when the container makes its cluster: the roles, the read models' database, and a login role for each workspace
# of HELIX_WORKSPACES (slugs, white space between), whose password is in HELIX_WORKSPACE_PASSWORDS/postgres-<slug>.
# For a workspace that is added later: the same lines of workspace.sql by hand.
set -euo pipefail

# The secret in a file, where it needs no escaping.
secret() {
    local text
    text=$(cat "$1")
    case "$text" in
        *[!0-9A-Za-z_-]*) echo "the password in $1 may have letters, digits, - and _ only" >&2; exit 1 ;;
    esac
    printf '%s' "$text"
}

run() {
    psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$1"
}

password=$(secret "$HELIX_OWNER_PASSWORD_FILE")
sed "s/:owner_password/$password/" /helix/roles.sql | run postgres
echo 'create database helix owner helix' | run postgres
for slug in ${HELIX_WORKSPACES:-}; do
    role="ws_$slug"
    # A name has 63 bytes at most (workspace.sql).
    [ "${#role}" -le 63 ] || role="$slug"
    password=$(secret "$HELIX_WORKSPACE_PASSWORDS/postgres-$slug")
    sed -e "s/:workspace/$slug/g" -e "s/:role_password/$password/g" -e "s/:role/$role/g" /helix/workspace.sql | run helix
done
