/* A word of the origin, from its block to the Gate: reorganisations, attestors that crash, a liar among them.
   The rules are those of spec/verification.md. Run by check.py, once as it is and once for each broken variant.

   The lane's next nonce is taken by envelope A or, on another branch, by envelope B. An attestor signs what stands in a
   block with CONFIRMATIONS blocks upon it; a reorganisation replaces at most the last REORG blocks. */

#ifndef REORG
#define REORG 2
#endif
#ifndef CONFIRMATIONS
#define CONFIRMATIONS 2
#endif
#ifndef THRESHOLD
#define THRESHOLD 2
#endif
#define HONEST 2
#define LIARS 1

#define NONE 0
#define A 1
#define B 2

byte content;            /* what the canonical chain has at the nonce */
byte upon;               /* blocks upon that block; no more are told apart than matter */
byte memory[HONEST];     /* what the attestor has on its disk */
byte published[6];          /* [3 * attestor + envelope]: 1 = it gave its signature */
bool halted[HONEST];
byte executed;

#define IS_FINAL (content != NONE && upon >= CONFIRMATIONS)
/* The liar signs everything. */
#define VOTES(e) (published[e] + published[3 + e] + LIARS)

proctype Origin()
{
end:
	do
	:: atomic { content == NONE -> if :: content = A :: content = B fi; upon = 0 }
	:: atomic { content != NONE && upon <= REORG + CONFIRMATIONS -> upon++ }
	:: atomic { content != NONE && upon < REORG -> content = NONE; upon = 0 }
	od
}

proctype Attestor(byte i)
{
	byte seen;
end:
	do
	/* Proves the word against the hash of a final block. */
	:: atomic { !halted[i] && seen == NONE && IS_FINAL -> seen = content }
	/* Loses what it had not written, and reads its disk again. */
	:: atomic { seen != NONE -> seen = NONE }
#if defined(FORGETFUL)
	:: atomic { seen != NONE -> published[3 * i + seen] = 1; seen = NONE }
#elif defined(PUBLISH_FIRST)
	:: atomic { seen != NONE && memory[i] != NONE && memory[i] != seen -> halted[i] = true; seen = NONE }
	:: atomic { seen != NONE && (memory[i] == NONE || memory[i] == seen) -> published[3 * i + seen] = 1 }
	:: atomic { seen != NONE && published[3 * i + seen] == 1 && memory[i] == NONE -> memory[i] = seen; seen = NONE }
#else
	:: atomic { seen != NONE && memory[i] == NONE -> memory[i] = seen }
	:: atomic { seen != NONE && memory[i] == seen -> published[3 * i + seen] = 1; seen = NONE }
	/* A final block was replaced: it stops, and says so. */
	:: atomic { seen != NONE && memory[i] != NONE && memory[i] != seen -> halted[i] = true; seen = NONE }
#endif
	od
}

proctype Gate()
{
end:
	do
	:: atomic { executed == NONE && VOTES(A) >= THRESHOLD -> executed = A }
	:: atomic { executed == NONE && VOTES(B) >= THRESHOLD -> executed = B }
	od
}

init
{
	atomic { run Origin(); run Attestor(0); run Attestor(1); run Gate() }
}

/* What is executed was dispatched, and stays so. */
ltl S3 { [] (executed == NONE || executed == content) }

/* An honest attestor never signs two words of one nonce. */
ltl ONE_WORD { [] !(published[A] && published[B]) && [] !(published[3 + A] && published[3 + B]) }

/* Not vacuous: these are to be refuted. */
ltl never_executed { [] (executed == NONE) }
ltl never_halted { [] (!halted[0]) }
