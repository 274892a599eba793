-- name: save_cursor
INSERT INTO cursors (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: load_cursor
SELECT value FROM cursors WHERE name = :name

-- name: save_lane
INSERT INTO lanes (lane, origin, router, destination, gate)
VALUES (:lane, :origin, :router, :destination, :gate)
ON CONFLICT (lane) DO NOTHING

-- name: load_lanes
SELECT lane, origin, router, destination, gate FROM lanes ORDER BY lane

-- name: append_dispatch
INSERT INTO dispatches (lane, nonce, id, envelope, accumulator, block_number, block_hash, tx_hash, seen_at)
VALUES (:lane, :nonce, :id, :envelope, :accumulator, :block_number, :block_hash, :tx_hash, :seen_at)

-- name: decide_appended_dispatches
UPDATE dispatches SET state = 1, cause = NULL, outcome = (
    SELECT outcome FROM receipts
    WHERE receipts.envelope_id = dispatches.id AND receipts.lane = dispatches.lane
    ORDER BY position LIMIT 1)
WHERE lane = :lane AND nonce >= :first AND EXISTS (
    SELECT 1 FROM receipts WHERE receipts.envelope_id = dispatches.id AND receipts.lane = dispatches.lane)

-- name: load_dispatch_head
SELECT max(nonce) AS head FROM dispatches WHERE lane = :lane

-- name: load_dispatch_by_id
SELECT * FROM dispatches WHERE id = :id

-- name: load_dispatch_page
SELECT * FROM dispatches WHERE lane = :lane AND nonce BETWEEN :first AND :last ORDER BY nonce LIMIT :limit

-- name: load_pending
SELECT * FROM dispatches
WHERE lane = :lane AND state = 0 AND nonce > :after AND next_attempt_at <= :now
ORDER BY nonce LIMIT :limit

-- name: load_pending_count
SELECT count(*) AS pending FROM dispatches WHERE lane = :lane AND state = 0

-- name: load_dead
SELECT * FROM dispatches WHERE lane = :lane AND state = 2 AND nonce > :after ORDER BY nonce LIMIT :limit

-- name: defer_envelope
UPDATE dispatches SET cause = :cause, next_attempt_at = :next_attempt_at, attempts = attempts + :attempt
WHERE lane = :lane AND nonce = :nonce AND state = 0

-- name: bury_envelope
UPDATE dispatches SET state = 2, cause = :cause WHERE lane = :lane AND nonce = :nonce AND state = 0

-- name: revive_envelope
UPDATE dispatches SET state = 0, cause = NULL, attempts = 0, next_attempt_at = 0
WHERE lane = :lane AND nonce = :nonce AND state = 2

-- name: revert_dispatches
DELETE FROM dispatches WHERE lane = :lane AND block_number > :block_number

-- name: append_receipt
INSERT INTO receipts
    (lane, position, envelope_id, outcome, beneficiary, result, accumulator, block_number, block_hash, tx_hash)
VALUES
    (:lane, :position, :envelope_id, :outcome, :beneficiary, :result, :accumulator, :block_number, :block_hash, :tx_hash)

-- name: decide_envelope
UPDATE dispatches SET state = 1, outcome = :outcome, cause = NULL
WHERE id = :envelope_id AND lane = :lane AND state <> 1

-- name: load_receipt_head
SELECT max(position) AS head FROM receipts WHERE lane = :lane

-- name: load_receipt_by_envelope
SELECT * FROM receipts WHERE lane = :lane AND envelope_id = :envelope_id ORDER BY position LIMIT 1

-- name: load_receipt_page
SELECT * FROM receipts WHERE lane = :lane AND position BETWEEN :first AND :last ORDER BY position LIMIT :limit

-- name: reopen_reverted
UPDATE dispatches SET state = 0, outcome = NULL, next_attempt_at = 0
WHERE lane = :lane AND id IN (
    SELECT envelope_id FROM receipts WHERE lane = :lane AND block_number > :block_number)
AND NOT EXISTS (
    SELECT 1 FROM receipts
    WHERE receipts.envelope_id = dispatches.id AND receipts.lane = :lane AND receipts.block_number <= :block_number)

-- name: revert_receipts
DELETE FROM receipts WHERE lane = :lane AND block_number > :block_number

-- name: save_transaction
INSERT INTO transactions (hash, chain, sender, nonce, raw, purpose, state, block_number)
VALUES (:hash, :chain, :sender, :nonce, :raw, :purpose, :state, :block_number)
ON CONFLICT (hash) DO NOTHING

-- name: set_transaction_state
UPDATE transactions SET state = :state, block_number = :block_number WHERE hash = :hash

-- name: load_open_transactions
SELECT * FROM transactions WHERE chain = :chain AND sender = :sender AND state < 3 ORDER BY nonce, rowid

-- name: load_transaction
SELECT * FROM transactions WHERE hash = :hash

-- name: load_highest_nonce
SELECT max(nonce) AS head FROM transactions WHERE chain = :chain AND sender = :sender AND state <> 5

-- name: reserve_word
INSERT INTO attested_words (lane, direction, nonce, word, height, block_hash, snapshot)
VALUES (:lane, :direction, :nonce, :word, :height, :block_hash, :snapshot)

-- name: load_backwards_word
SELECT * FROM attested_words
WHERE lane = :lane AND direction = :direction AND snapshot = 0
AND ((nonce > :nonce AND height <= :height) OR (nonce < :nonce AND height >= :height))
LIMIT 1

-- name: load_attested_word
SELECT * FROM attested_words WHERE lane = :lane AND direction = :direction AND nonce = :nonce

-- name: load_highest_attested_word
SELECT * FROM attested_words WHERE lane = :lane AND direction = :direction AND snapshot = 0
ORDER BY nonce DESC LIMIT 1

-- name: load_attested_words_from
SELECT * FROM attested_words WHERE lane = :lane AND direction = :direction AND height >= :height
ORDER BY nonce DESC LIMIT :limit

-- name: save_attestation
INSERT INTO attestations (lane, direction, nonce, verify_chain, verifier, set_id, epoch, signer, signature)
VALUES (:lane, :direction, :nonce, :verify_chain, :verifier, :set_id, :epoch, :signer, :signature)
ON CONFLICT DO NOTHING

-- name: load_attestations
SELECT a.*, w.word, w.height, w.block_hash, w.snapshot FROM attestations AS a
JOIN attested_words AS w ON w.lane = a.lane AND w.direction = a.direction AND w.nonce = a.nonce
WHERE a.lane = :lane AND a.direction = :direction AND a.nonce BETWEEN :min_nonce AND :max_nonce
ORDER BY a.nonce DESC, a.epoch DESC, a.verify_chain, a.verifier, a.set_id, a.signer LIMIT :limit

-- name: load_oldest_attestations
SELECT a.*, w.word, w.height, w.block_hash, w.snapshot FROM attestations AS a
JOIN attested_words AS w ON w.lane = a.lane AND w.direction = a.direction AND w.nonce = a.nonce
WHERE a.lane = :lane AND a.direction = :direction AND a.nonce BETWEEN :min_nonce AND :max_nonce
ORDER BY a.nonce, a.epoch DESC, a.verify_chain, a.verifier, a.set_id, a.signer LIMIT :limit

-- name: save_halt
INSERT INTO halts (lane, direction, reason, evidence, halted_at)
VALUES (:lane, :direction, :reason, :evidence, :halted_at)
ON CONFLICT (lane, direction) DO NOTHING

-- name: load_halts
SELECT * FROM halts ORDER BY lane, direction

-- name: clear_halt
DELETE FROM halts WHERE lane = :lane AND direction = :direction
