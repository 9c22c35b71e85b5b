-- The login role of one workspace, which sees that workspace's rows and no others, whatever it sets. Run by the superuser in
-- the read models' database, after roles.sql, once a workspace, any number of times. Whoever runs this file fills in
-- :workspace (a slug: a-z, 0-9 and -), :role and :role_password.
--
-- :role is `ws_` and the slug, or the slug alone where that would pass the 63 bytes of a name: it is then longer than the
-- name of any other role, and no slug has a `_`.
--
-- The first migration may be still to come, so the table of bindings is made here too. A role is bound before it may log in.
create schema if not exists helix authorization helix;
create table if not exists helix.workspace_roles (
    role_name    name primary key,
    workspace_id text not null
);
alter table helix.workspace_roles owner to helix;
do $$
begin
    if not exists (select from pg_roles where rolname = ':role') then
        create role ":role" nologin;
    end if;
end
$$;
insert into helix.workspace_roles (role_name, workspace_id) values (':role', ':workspace')
on conflict (role_name) do update set workspace_id = excluded.workspace_id;
grant helix_reader to ":role";
alter role ":role" set search_path = read;
alter role ":role" with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password ':role_password';
