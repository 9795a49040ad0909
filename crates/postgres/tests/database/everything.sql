-- One of everything that a schema may hold.
CREATE TYPE mood AS ENUM ('sad', 'fine', 'happy');
CREATE DOMAIN amount AS numeric(10, 2) DEFAULT 0 NOT NULL CHECK (VALUE >= 0);
CREATE TYPE point3 AS (x int, y int, z text COLLATE "C");
CREATE TYPE span AS RANGE (subtype = float8);
CREATE SEQUENCE tickets START 10 INCREMENT -3 MINVALUE -100 MAXVALUE 50 CACHE 5 CYCLE;
COMMENT ON SEQUENCE tickets IS 'descending';

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.made := now(); RETURN NEW; END $$;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';

CREATE TABLE parent (a int NOT NULL, b int NOT NULL, PRIMARY KEY (b, a));
CREATE TABLE child (
    id bigserial PRIMARY KEY, q int, p int,
    CONSTRAINT child_parent FOREIGN KEY (p, q) REFERENCES parent (b, a) ON DELETE SET NULL (p)
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5) PRIMARY KEY,
    gone int,
    number int NOT NULL,
    name varchar(40) COLLATE "C" DEFAULT 'nobody',
    email text NOT NULL,
    full_name text GENERATED ALWAYS AS (name || ' ' || email) STORED,
    feeling mood DEFAULT 'fine',
    worth amount,
    made timestamptz DEFAULT now(),
    during tstzrange,
    CONSTRAINT "Odd Name" UNIQUE (name, email) INCLUDE (made)
) WITH (fillfactor = 80);
ALTER TABLE users DROP COLUMN gone;
ALTER TABLE users ADD CONSTRAINT positive CHECK (number > 0) NOT VALID;
ALTER TABLE users ADD CONSTRAINT apart EXCLUDE USING gist (during WITH &&) WHERE (number > 5);
ALTER TABLE users ALTER COLUMN email SET STORAGE EXTERNAL, ALTER COLUMN email SET STATISTICS 500,
    ALTER COLUMN name SET (n_distinct = 5), ALTER COLUMN email SET COMPRESSION pglz;
COMMENT ON TABLE users IS 'people';
COMMENT ON COLUMN users.email IS 'how to reach them';
COMMENT ON CONSTRAINT positive ON users IS 'more than none';
CREATE UNIQUE INDEX users_email ON users (lower(email));
CREATE UNIQUE INDEX users_number ON users (number);
CREATE INDEX users_made ON users (made DESC NULLS LAST) INCLUDE (email) WHERE made IS NOT NULL;
CREATE INDEX users_name ON users (name text_pattern_ops, email COLLATE "C", (number + 1) DESC);
CREATE UNIQUE INDEX users_worth ON users (worth) NULLS NOT DISTINCT;
CREATE INDEX users_feeling ON users USING hash (feeling) WITH (fillfactor = 70);
COMMENT ON INDEX users_made IS 'newest first';
ALTER TABLE users CLUSTER ON users_number;
ALTER TABLE users REPLICA IDENTITY USING INDEX users_number;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF name ON users FOR EACH ROW
    WHEN (NEW.email IS NOT NULL) EXECUTE FUNCTION touch();
ALTER TABLE users ENABLE ALWAYS TRIGGER touch;
CREATE CONSTRAINT TRIGGER later AFTER DELETE ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION touch();
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON users AS RESTRICTIVE FOR UPDATE TO $reader USING (name = current_user) WITH CHECK (number > 0);
CREATE POLICY every ON users USING (true);
GRANT SELECT, INSERT ON users TO $reader WITH GRANT OPTION;
GRANT UPDATE (name, email) ON users TO $reader;
GRANT SELECT ON users TO PUBLIC;
GRANT USAGE ON SEQUENCE tickets TO $reader;
CREATE STATISTICS users_both (dependencies) ON name, email FROM users;

CREATE VIEW emails WITH (security_invoker = true, security_barrier = true) AS SELECT id, email FROM users WHERE number > 3;
CREATE VIEW emails_twice AS SELECT * FROM emails UNION ALL SELECT * FROM emails;
COMMENT ON VIEW emails IS 'only addresses';
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER instead INSTEAD OF INSERT ON emails FOR EACH ROW EXECUTE FUNCTION instead();
CREATE MATERIALIZED VIEW counts AS SELECT name, count(*) AS many FROM users GROUP BY name;
CREATE UNIQUE INDEX counts_name ON counts (name);
CREATE RULE quiet AS ON DELETE TO parent WHERE OLD.a < 0 DO INSTEAD NOTHING;

CREATE TABLE events (at timestamptz NOT NULL, kind text, parent_a int, parent_b int, PRIMARY KEY (at),
    FOREIGN KEY (parent_b, parent_a) REFERENCES parent (b, a)) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2020-01-01 00:00:00+00') TO ('2021-01-01 00:00:00+00');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_kind ON events (kind);
CREATE TRIGGER touch AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION touch();

CREATE TABLE base (id int PRIMARY KEY, note text CHECK (note <> ''));
CREATE TABLE heir (more text) INHERITS (base);
CREATE UNLOGGED TABLE scratch (id int, data point3, tree span);
CREATE TABLE "Mixed ""Case" ("select" int, "Größe" text);

CREATE SCHEMA reports;
CREATE TABLE reports.daily (parent_a int, parent_b int, FOREIGN KEY (parent_b, parent_a) REFERENCES public.parent (b, a));
CREATE VIEW reports.users AS SELECT name FROM public.users;
CREATE PUBLICATION changes FOR TABLE users, parent;
