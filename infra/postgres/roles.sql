-- The role that migrates and projects, and owns the schemas `read` and `helix`. It is no superuser and may not bypass
-- row-level security, which is forced: owning a table does not free it from the table's policies.
-- :owner_password is filled in by whoever runs this file. Runs any number of times.
do $$
begin
    if not exists (select from pg_roles where rolname = 'helix') then
        create role helix login;
    end if;
end
$$;
alter role helix with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password ':owner_password';
-- By default a role looks into the schema of its own name first. This one owns a schema `helix`, so that after the first
-- migration the list of migrations would be sought, and made anew and empty, in there.
alter role helix set search_path = public;
