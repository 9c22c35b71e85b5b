-- The roles of the read models' database but for those of the workspaces (workspace.sql). Run by the superuser, in any
-- database, any number of times. :owner_password is filled in by whoever runs this file.
--
-- helix migrates and projects, and owns every schema. It is no superuser and may not bypass row-level security, which is
-- forced: owning a table does not free it from the table's policies.
-- helix_reader is no login: what its members may read is granted to it by the migrations. Row-level security then shows a
-- member the rows of one workspace: the one it is bound to (helix.workspace_roles), else the one it names in the setting
-- helix.workspace. A service that reads for several workspaces is a member without a binding.
do $$
begin
    if not exists (select from pg_roles where rolname = 'helix') then
        create role helix login;
    end if;
    if not exists (select from pg_roles where rolname = 'helix_reader') then
        create role helix_reader nologin;
    end if;
end
$$;
alter role helix with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password ':owner_password';
alter role helix_reader with nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
-- By default a role looks into the schema of its own name first. This one owns a schema `helix`, so that after the first
-- migration the list of migrations would be sought, and made anew and empty, in there.
alter role helix set search_path = public;
