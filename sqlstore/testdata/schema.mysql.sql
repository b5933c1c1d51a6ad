CREATE TABLE IF NOT EXISTS authprofile_schema (
	step    BIGINT NOT NULL PRIMARY KEY,
	applied DATETIME(3) NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS authprofile_profiles (
	id              VARBINARY(255) NOT NULL PRIMARY KEY,
	version         BIGINT NOT NULL,
	created         DATETIME(3) NOT NULL,
	updated         DATETIME(3) NOT NULL,
	name            LONGTEXT NOT NULL,
	description     LONGTEXT NOT NULL,
	type            LONGTEXT NOT NULL,
	client_id       LONGTEXT NOT NULL,
	client_secret   LONGBLOB NOT NULL,
	auth_method     LONGTEXT NOT NULL,
	template        LONGTEXT NOT NULL,
	discovery_url   LONGTEXT NOT NULL,
	auth_url        LONGTEXT NOT NULL,
	token_url       LONGTEXT NOT NULL,
	revocation_url  LONGTEXT NOT NULL,
	device_auth_url LONGTEXT NOT NULL,
	scopes          LONGTEXT NOT NULL,
	redirect_url    LONGTEXT NOT NULL,
	params          LONGTEXT NOT NULL,
	refused BIGINT NOT NULL DEFAULT 0
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS authprofile_grants (
	profile_id              VARBINARY(255) NOT NULL,
	user_id                 VARBINARY(512) NOT NULL,
	version                 BIGINT NOT NULL,
	created                 DATETIME(3) NOT NULL,
	updated                 DATETIME(3) NOT NULL,
	status                  LONGTEXT NOT NULL,
	access_token            LONGBLOB NOT NULL,
	refresh_token           LONGBLOB NOT NULL,
	token_type              LONGTEXT NOT NULL,
	obtained                DATETIME(3),
	expiry                  DATETIME(3),
	refresh_expiry          DATETIME(3),
	scopes                  LONGTEXT NOT NULL,
	requested               LONGTEXT NOT NULL,
	client_id               LONGTEXT NOT NULL,
	issuer                  LONGTEXT NOT NULL,
	subject                 LONGTEXT NOT NULL,
	nonce                   LONGTEXT NOT NULL,
	extra                   LONGBLOB NOT NULL,
	failure_reason          LONGTEXT,
	failure_code            LONGTEXT,
	failure_description     LONGTEXT,
	failure_http_status     BIGINT,
	failing_since           DATETIME(3),
	last_attempt            DATETIME(3),
	next_attempt            DATETIME(3),
	attempts                BIGINT,
	paced                   BOOLEAN,
	failure_profile_version BIGINT,
	lease_owner             LONGTEXT,
	lease_attempt           LONGTEXT,
	lease_length_ns         BIGINT,
	refused BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (profile_id, user_id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS authprofile_flows (
	id              VARBINARY(255) NOT NULL PRIMARY KEY,
	profile_id      VARBINARY(255) NOT NULL,
	user_id         VARBINARY(512) NOT NULL,
	expires         DATETIME(3) NOT NULL,
	verifier        LONGBLOB NOT NULL,
	nonce           LONGTEXT NOT NULL,
	redirect_url    LONGTEXT NOT NULL,
	requested       LONGTEXT NOT NULL,
	issuer          LONGTEXT NOT NULL,
	issuer_required BOOLEAN NOT NULL,
	profile_version BIGINT NOT NULL,
	browser         LONGTEXT NOT NULL,
	return_to       LONGTEXT NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO authprofile_schema (step, applied) VALUES (1, UTC_TIMESTAMP(3));

CREATE INDEX authprofile_grants_status ON authprofile_grants (status(32), failing_since);

CREATE INDEX authprofile_flows_expires ON authprofile_flows (expires);

INSERT INTO authprofile_schema (step, applied) VALUES (2, UTC_TIMESTAMP(3));

ALTER TABLE authprofile_profiles
	ADD COLUMN token_params LONGTEXT,
	ADD COLUMN api_hosts LONGTEXT,
	ADD COLUMN client_key LONGBLOB,
	ADD COLUMN secret_expires DATETIME(3),
	ADD COLUMN keep_alive_ns BIGINT,
	ADD COLUMN par_url LONGTEXT;

ALTER TABLE authprofile_grants
	ADD COLUMN account LONGTEXT,
	ADD COLUMN authorized DATETIME(3),
	ADD COLUMN ends DATETIME(3),
	ADD COLUMN ends_by LONGTEXT,
	ADD COLUMN due DATETIME(3) DEFAULT '1970-01-01 00:00:00.000',
	ADD COLUMN told LONGTEXT,
	ADD COLUMN told_at DATETIME(3),
	ADD COLUMN warned DATETIME(3);

ALTER TABLE authprofile_grants
	ADD COLUMN status_key VARBINARY(255) AS (LEFT(status, 63)) VIRTUAL;

INSERT INTO authprofile_schema (step, applied) VALUES (3, UTC_TIMESTAMP(3));

CREATE INDEX authprofile_grants_user ON authprofile_grants (user_id, profile_id);

CREATE INDEX authprofile_grants_state ON authprofile_grants (status_key, profile_id, user_id);

CREATE INDEX authprofile_grants_ends ON authprofile_grants (ends, profile_id, user_id);

CREATE INDEX authprofile_grants_due ON authprofile_grants (due);

INSERT INTO authprofile_schema (step, applied) VALUES (4, UTC_TIMESTAMP(3));
