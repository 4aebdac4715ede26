-- +goose Up
-- A time is in milliseconds since 1970; the largest number is a time that is not known.
CREATE TABLE jobs (
  uid             TEXT COLLATE "C" PRIMARY KEY,
  user_name       TEXT COLLATE "C" NOT NULL,
  job_name        TEXT COLLATE "C" NOT NULL,
  virtual_cluster TEXT COLLATE "C" NOT NULL,
  state           TEXT COLLATE "C" NOT NULL,
  priority        TEXT COLLATE "C" NOT NULL,
  created         BIGINT NOT NULL,
  started         BIGINT NOT NULL,
  ended           BIGINT NOT NULL,
  retries         BIGINT NOT NULL,
  gpus            BIGINT NOT NULL,
  tasks           BIGINT NOT NULL,
  task_roles      BIGINT NOT NULL,
  exit_code       BIGINT,
  stop_asked      BIGINT NOT NULL,
  tags            TEXT COLLATE "C" NOT NULL,
  -- When the cluster was read, and what it said, as a digest.
  observed        BIGINT NOT NULL,
  digest          TEXT COLLATE "C" NOT NULL,
  -- Since when the job is not in the cluster; 0 while it is.
  gone            BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX jobs_newest ON jobs (created DESC, user_name, job_name, uid);
CREATE INDEX jobs_ended ON jobs (ended);
CREATE INDEX jobs_of_user ON jobs (user_name, job_name, created DESC);
CREATE INDEX jobs_that_left ON jobs (gone, ended);

CREATE TABLE attempts (
  job     TEXT COLLATE "C" NOT NULL REFERENCES jobs (uid) ON DELETE CASCADE,
  attempt BIGINT NOT NULL,
  status  BYTEA NOT NULL,
  PRIMARY KEY (job, attempt)
);

CREATE TABLE texts (
  job      TEXT COLLATE "C" PRIMARY KEY REFERENCES jobs (uid) ON DELETE CASCADE,
  protocol BYTEA NOT NULL
);

-- Notes about a job: events of Kubernetes, and lines of operations.
CREATE TABLE notes (
  job  TEXT COLLATE "C" NOT NULL REFERENCES jobs (uid) ON DELETE CASCADE,
  kind TEXT COLLATE "C" NOT NULL,
  id   TEXT COLLATE "C" NOT NULL,
  at   BIGINT NOT NULL,
  data BYTEA NOT NULL,
  PRIMARY KEY (job, kind, id)
);
