CREATE TABLE IF NOT EXISTS authprofile_schema (
	step    BIGINT NOT NULL PRIMARY KEY,
	applied TIMESTAMPTZ(3) NOT NULL
);

CREATE TABLE IF NOT EXISTS authprofile_profiles (
	id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	version         BIGINT NOT NULL,
	created         TIMESTAMPTZ(3) NOT NULL,
	updated         TIMESTAMPTZ(3) NOT NULL,
	name            TEXT NOT NULL,
	description     TEXT NOT NULL,
	type            TEXT NOT NULL,
	client_id       TEXT NOT NULL,
	client_secret   BYTEA NOT NULL,
	auth_method     TEXT NOT NULL,
	template        TEXT NOT NULL,
	discovery_url   TEXT NOT NULL,
	auth_url        TEXT NOT NULL,
	token_url       TEXT NOT NULL,
	revocation_url  TEXT NOT NULL,
	device_auth_url TEXT NOT NULL,
	scopes          TEXT NOT NULL,
	redirect_url    TEXT NOT NULL,
	params          TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS authprofile_grants (
	profile_id              TEXT COLLATE "C" NOT NULL,
	user_id                 TEXT COLLATE "C" NOT NULL,
	version                 BIGINT NOT NULL,
	created                 TIMESTAMPTZ(3) NOT NULL,
	updated                 TIMESTAMPTZ(3) NOT NULL,
	status                  TEXT NOT NULL,
	access_token            BYTEA NOT NULL,
	refresh_token           BYTEA NOT NULL,
	token_type              TEXT NOT NULL,
	obtained                TIMESTAMPTZ(3),
	expiry                  TIMESTAMPTZ(3),
	refresh_expiry          TIMESTAMPTZ(3),
	scopes                  TEXT NOT NULL,
	requested               TEXT NOT NULL,
	client_id               TEXT NOT NULL,
	issuer                  TEXT NOT NULL,
	subject                 TEXT NOT NULL,
	nonce                   TEXT NOT NULL,
	extra                   BYTEA NOT NULL,
	failure_reason          TEXT,
	failure_code            TEXT,
	failure_description     TEXT,
	failure_http_status     BIGINT,
	failing_since           TIMESTAMPTZ(3),
	last_attempt            TIMESTAMPTZ(3),
	next_attempt            TIMESTAMPTZ(3),
	attempts                BIGINT,
	paced                   BOOLEAN,
	failure_profile_version BIGINT,
	lease_owner             TEXT,
	lease_attempt           TEXT,
	lease_length_ns         BIGINT,
	PRIMARY KEY (profile_id, user_id)
) WITH (fillfactor = 80);

CREATE TABLE IF NOT EXISTS authprofile_flows (
	id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	profile_id      TEXT COLLATE "C" NOT NULL,
	user_id         TEXT COLLATE "C" NOT NULL,
	expires         TIMESTAMPTZ(3) NOT NULL,
	verifier        BYTEA NOT NULL,
	nonce           TEXT NOT NULL,
	redirect_url    TEXT NOT NULL,
	requested       TEXT NOT NULL,
	issuer          TEXT NOT NULL,
	issuer_required BOOLEAN NOT NULL,
	profile_version BIGINT NOT NULL,
	browser         TEXT NOT NULL,
	return_to       TEXT NOT NULL
);

INSERT INTO authprofile_schema (step, applied) VALUES (1, now());

CREATE INDEX IF NOT EXISTS authprofile_grants_status ON authprofile_grants (status, failing_since) WHERE status <> 'active';

CREATE INDEX IF NOT EXISTS authprofile_flows_expires ON authprofile_flows (expires);

INSERT INTO authprofile_schema (step, applied) VALUES (2, now());

ALTER TABLE authprofile_profiles
	ADD COLUMN token_params TEXT,
	ADD COLUMN api_hosts TEXT,
	ADD COLUMN client_key BYTEA,
	ADD COLUMN secret_expires TIMESTAMPTZ(3),
	ADD COLUMN keep_alive_ns BIGINT,
	ADD COLUMN par_url TEXT;

ALTER TABLE authprofile_grants
	ADD COLUMN account TEXT,
	ADD COLUMN authorized TIMESTAMPTZ(3),
	ADD COLUMN ends TIMESTAMPTZ(3),
	ADD COLUMN ends_by TEXT,
	ADD COLUMN due TIMESTAMPTZ(3) DEFAULT '1970-01-01 00:00:00+00',
	ADD COLUMN told TEXT,
	ADD COLUMN told_at TIMESTAMPTZ(3),
	ADD COLUMN warned TIMESTAMPTZ(3);

INSERT INTO authprofile_schema (step, applied) VALUES (3, now());

CREATE INDEX IF NOT EXISTS authprofile_grants_user ON authprofile_grants (user_id, profile_id);

CREATE INDEX IF NOT EXISTS authprofile_grants_state ON authprofile_grants (status, profile_id, user_id);

CREATE INDEX IF NOT EXISTS authprofile_grants_ends ON authprofile_grants (ends, profile_id, user_id) WHERE ends IS NOT NULL;

CREATE INDEX IF NOT EXISTS authprofile_grants_due ON authprofile_grants (due) WHERE due IS NOT NULL;

INSERT INTO authprofile_schema (step, applied) VALUES (4, now());
