-- Schema of an agent's store, version 1 (PRAGMA user_version). Meaning of each table: port.py.
-- Numbers above 63 bits (chain ids, words, accumulators) are big-endian blobs of fixed width.

CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE lanes (
    lane        BLOB PRIMARY KEY CHECK (length(lane) = 32),
    origin      BLOB NOT NULL,
    router      BLOB NOT NULL,
    destination BLOB NOT NULL,
    gate        BLOB NOT NULL
);

-- state: 0 pending, 1 decided (a receipt exists), 2 dead (given up, with a reason)
CREATE TABLE dispatches (
    lane            BLOB    NOT NULL,
    nonce           INTEGER NOT NULL CHECK (nonce >= 1),
    id              BLOB    NOT NULL CHECK (length(id) = 32),
    envelope        BLOB    NOT NULL,
    accumulator     BLOB    NOT NULL CHECK (length(accumulator) = 27),
    block_number    INTEGER NOT NULL,
    block_hash      BLOB    NOT NULL,
    tx_hash         BLOB    NOT NULL,
    seen_at         INTEGER NOT NULL,
    state           INTEGER NOT NULL DEFAULT 0,
    outcome         INTEGER,
    cause           TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (lane, nonce)
);
CREATE UNIQUE INDEX dispatches_by_id ON dispatches (id);
CREATE INDEX dispatches_by_block ON dispatches (lane, block_number);
CREATE INDEX dispatches_pending ON dispatches (lane, nonce, next_attempt_at) WHERE state = 0;

-- An expired call writes no mark, so an envelope may have several receipts: the lowest position is its outcome.
CREATE TABLE receipts (
    lane         BLOB    NOT NULL,
    position     INTEGER NOT NULL CHECK (position >= 1),
    envelope_id  BLOB    NOT NULL CHECK (length(envelope_id) = 32),
    outcome      INTEGER NOT NULL CHECK (outcome BETWEEN 1 AND 5),
    beneficiary  BLOB    NOT NULL,
    result       BLOB    NOT NULL,
    accumulator  BLOB    NOT NULL CHECK (length(accumulator) = 27),
    block_number INTEGER NOT NULL,
    block_hash   BLOB    NOT NULL,
    tx_hash      BLOB    NOT NULL,
    PRIMARY KEY (lane, position)
);
CREATE INDEX receipts_by_envelope ON receipts (envelope_id, position);
CREATE INDEX receipts_by_block ON receipts (lane, block_number);

-- state: 0 signed, 1 broadcast, 2 mined, 3 final, 4 replaced, 5 dropped. One row for each signed replacement of a nonce.
CREATE TABLE transactions (
    hash         BLOB PRIMARY KEY,
    chain        BLOB    NOT NULL,
    sender       BLOB    NOT NULL,
    nonce        INTEGER NOT NULL,
    raw          BLOB    NOT NULL,
    purpose      TEXT    NOT NULL,
    state        INTEGER NOT NULL DEFAULT 0,
    block_number INTEGER
);
CREATE INDEX transactions_by_nonce ON transactions (chain, sender, nonce);
CREATE INDEX transactions_open ON transactions (chain, sender, nonce) WHERE state < 3;

-- The promise never to contradict oneself: one word per nonce and one word per height, whatever key or set signs it.
-- A snapshot is proved at any later height, so it does not take that height's place.
CREATE TABLE attested_words (
    lane       BLOB    NOT NULL,
    direction  INTEGER NOT NULL,
    nonce      INTEGER NOT NULL,
    word       BLOB    NOT NULL CHECK (length(word) = 32),
    height     INTEGER NOT NULL,
    block_hash BLOB    NOT NULL,
    snapshot   INTEGER NOT NULL CHECK (snapshot IN (0, 1)),
    PRIMARY KEY (lane, direction, nonce)
);
CREATE UNIQUE INDEX attested_words_by_height ON attested_words (lane, direction, height) WHERE snapshot = 0;

CREATE TABLE attestations (
    lane         BLOB    NOT NULL,
    direction    INTEGER NOT NULL,
    nonce        INTEGER NOT NULL,
    verify_chain BLOB    NOT NULL,
    verifier     BLOB    NOT NULL,
    set_id       BLOB    NOT NULL,
    epoch        INTEGER NOT NULL,
    signer       BLOB    NOT NULL,
    signature    BLOB    NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (lane, direction, nonce, verify_chain, verifier, set_id, signer),
    FOREIGN KEY (lane, direction, nonce) REFERENCES attested_words (lane, direction, nonce)
);

CREATE TABLE halts (
    lane      BLOB    NOT NULL,
    direction INTEGER NOT NULL,
    reason    TEXT    NOT NULL,
    evidence  TEXT    NOT NULL,
    halted_at INTEGER NOT NULL,
    PRIMARY KEY (lane, direction)
);
