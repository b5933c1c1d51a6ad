CREATE TABLE IF NOT EXISTS authprofile_schema (
	step    INTEGER NOT NULL PRIMARY KEY,
	applied TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS authprofile_profiles (
	id              TEXT NOT NULL PRIMARY KEY,
	version         INTEGER NOT NULL,
	created         TEXT NOT NULL,
	updated         TEXT NOT NULL,
	name            TEXT NOT NULL,
	description     TEXT NOT NULL,
	type            TEXT NOT NULL,
	client_id       TEXT NOT NULL,
	client_secret   BLOB NOT NULL,
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
	profile_id              TEXT NOT NULL,
	user_id                 TEXT NOT NULL,
	version                 INTEGER NOT NULL,
	created                 TEXT NOT NULL,
	updated                 TEXT NOT NULL,
	status                  TEXT NOT NULL,
	access_token            BLOB NOT NULL,
	refresh_token           BLOB NOT NULL,
	token_type              TEXT NOT NULL,
	obtained                TEXT,
	expiry                  TEXT,
	refresh_expiry          TEXT,
	scopes                  TEXT NOT NULL,
	requested               TEXT NOT NULL,
	client_id               TEXT NOT NULL,
	issuer                  TEXT NOT NULL,
	subject                 TEXT NOT NULL,
	nonce                   TEXT NOT NULL,
	extra                   BLOB NOT NULL,
	failure_reason          TEXT,
	failure_code            TEXT,
	failure_description     TEXT,
	failure_http_status     INTEGER,
	failing_since           TEXT,
	last_attempt            TEXT,
	next_attempt            TEXT,
	attempts                INTEGER,
	paced                   INTEGER,
	failure_profile_version INTEGER,
	lease_owner             TEXT,
	lease_attempt           TEXT,
	lease_length_ns         INTEGER,
	PRIMARY KEY (profile_id, user_id)
);

CREATE TABLE IF NOT EXISTS authprofile_flows (
	id              TEXT NOT NULL PRIMARY KEY,
	profile_id      TEXT NOT NULL,
	user_id         TEXT NOT NULL,
	expires         TEXT NOT NULL,
	verifier        BLOB NOT NULL,
	nonce           TEXT NOT NULL,
	redirect_url    TEXT NOT NULL,
	requested       TEXT NOT NULL,
	issuer          TEXT NOT NULL,
	issuer_required INTEGER NOT NULL,
	profile_version INTEGER NOT NULL,
	browser         TEXT NOT NULL,
	return_to       TEXT NOT NULL
);

INSERT INTO authprofile_schema (step, applied) VALUES (1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

CREATE INDEX IF NOT EXISTS authprofile_grants_status ON authprofile_grants (status, failing_since);

CREATE INDEX IF NOT EXISTS authprofile_flows_expires ON authprofile_flows (expires);

INSERT INTO authprofile_schema (step, applied) VALUES (2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

ALTER TABLE authprofile_profiles ADD COLUMN token_params TEXT;

ALTER TABLE authprofile_profiles ADD COLUMN api_hosts TEXT;

ALTER TABLE authprofile_profiles ADD COLUMN client_key BLOB;

ALTER TABLE authprofile_profiles ADD COLUMN secret_expires TEXT;

ALTER TABLE authprofile_profiles ADD COLUMN keep_alive_ns INTEGER;

ALTER TABLE authprofile_profiles ADD COLUMN par_url TEXT;

ALTER TABLE authprofile_grants ADD COLUMN account TEXT;

ALTER TABLE authprofile_grants ADD COLUMN authorized TEXT;

ALTER TABLE authprofile_grants ADD COLUMN ends TEXT;

ALTER TABLE authprofile_grants ADD COLUMN ends_by TEXT;

ALTER TABLE authprofile_grants ADD COLUMN due TEXT DEFAULT '1970-01-01T00:00:00.000Z';

ALTER TABLE authprofile_grants ADD COLUMN told TEXT;

ALTER TABLE authprofile_grants ADD COLUMN told_at TEXT;

ALTER TABLE authprofile_grants ADD COLUMN warned TEXT;

INSERT INTO authprofile_schema (step, applied) VALUES (3, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

CREATE INDEX IF NOT EXISTS authprofile_grants_user ON authprofile_grants (user_id, profile_id);

CREATE INDEX IF NOT EXISTS authprofile_grants_state ON authprofile_grants (status, profile_id, user_id);

CREATE INDEX IF NOT EXISTS authprofile_grants_ends ON authprofile_grants (ends, profile_id, user_id) WHERE ends IS NOT NULL;

CREATE INDEX IF NOT EXISTS authprofile_grants_due ON authprofile_grants (due) WHERE due IS NOT NULL;

INSERT INTO authprofile_schema (step, applied) VALUES (4, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));
