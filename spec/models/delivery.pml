/* An envelope at the Gate: deliver and expire, marks, deadline, dependency, retries, racing relayers, a broken verifier.
   The rules are those of spec/outcomes.md. Run by check.py, once as it is and once for each broken variant.

   Four envelopes meet. Two were dispatched under policy P: GENUINE (nonce 1), and DEPENDANT (nonce 2), which needs nonce 1
   to have executed. Two never were: FORGED carries nonce 1 under policy Q, whose verifier is broken and accepts it, for a
   receiver that accepts Q; FAKE carries nonce 1 under policy P and an early deadline, and nobody can prove it. */

#define DEADLINE 2
#define FAKE_DEADLINE 0
#define END 4

#define GENUINE 0
#define DEPENDANT 1
#define FORGED 2
#define FAKE 3

#define UNDECIDED 0
#define EXECUTED 1
#define FAILED 2

byte now;                /* the destination's clock */
byte mark[3];            /* by (policy, nonce): (P,1), (P,2), (Q,1) */
byte executed[4];        /* how often its hook ran and succeeded */
bool failed[4];          /* a FAILED receipt exists */
bool expired[4];         /* an EXPIRED receipt exists */
bool retryable[4];
bool verifier_is_dead;   /* the one of policy P; it may come to this at any time */
bool paused;

#ifdef MARK_WITHOUT_POLICY
#define KEY(e) (e == DEPENDANT -> 1 : 0)
#else
#define KEY(e) (e == DEPENDANT -> 1 : (e == FORGED -> 2 : 0))
#endif

#ifdef NO_MARK
#define IS_OPEN(e) true
#else
#define IS_OPEN(e) (mark[KEY(e)] == UNDECIDED)
#endif

#define DEADLINE_OF(e) (e == FAKE -> FAKE_DEADLINE : DEADLINE)

#ifdef DELIVER_AFTER_DEADLINE
#define IN_TIME(e) true
#else
#define IN_TIME(e) (now <= DEADLINE_OF(e))
#endif

#ifdef EXPIRE_AT_DEADLINE
#define IS_OVERDUE(e) (now >= DEADLINE_OF(e))
#else
#define IS_OVERDUE(e) (now > DEADLINE_OF(e))
#endif

#define IS_PROVED(e) (e == FORGED || (e != FAKE && !verifier_is_dead))

#ifdef NO_DEPENDENCY
#define IS_READY(e) true
#else
#define IS_READY(e) (e != DEPENDANT || mark[0] != UNDECIDED)
#endif

#define CAN_DELIVER(e) (IS_PROVED(e) && !paused && IS_OPEN(e) && IN_TIME(e) && IS_READY(e))

#ifdef EXPIRE_NEEDS_PROOF
#define CAN_EXPIRE(e) (IS_OVERDUE(e) && IS_OPEN(e) && IS_PROVED(e))
#else
#define CAN_EXPIRE(e) (IS_OVERDUE(e) && IS_OPEN(e))
#endif

/* A transaction is one step: while a hook runs, deliver and expire are locked. */
inline deliver(e)
{
	if
	:: !CAN_DELIVER(e) -> skip                       /* reverts: a lost race, or too late */
	:: CAN_DELIVER(e) && e == DEPENDANT && mark[0] == FAILED ->
		mark[KEY(e)] = FAILED; failed[e] = true      /* without a call */
	:: CAN_DELIVER(e) && !(e == DEPENDANT && mark[0] == FAILED) ->
		if
		:: mark[KEY(e)] = EXECUTED; executed[e] = (executed[e] < 2 -> executed[e] + 1 : 2)
#ifdef RETRY_FAILS
		:: mark[KEY(e)] = FAILED; failed[e] = true
#else
		:: !retryable[e] -> mark[KEY(e)] = FAILED; failed[e] = true
		:: retryable[e] -> skip                      /* the hook failed; the envelope stays as it was */
#endif
		fi
	fi
}

inline expire(e)
{
	if
	:: !CAN_EXPIRE(e) -> skip
	:: CAN_EXPIRE(e) ->
		expired[e] = true
#ifdef EXPIRE_WRITES_MARK
		; mark[KEY(e)] = FAILED
#endif
	fi
}

/* Sends what its simulation says will succeed; by then it may no longer be so. */
proctype Relayer()
{
	byte e;
end:
	do
	:: d_step { mark[0] == UNDECIDED -> e = GENUINE }; atomic { deliver(e); e = 0 }
	:: d_step { mark[1] == UNDECIDED -> e = DEPENDANT }; atomic { deliver(e); e = 0 }
	:: d_step { mark[2] == UNDECIDED -> e = FORGED }; atomic { deliver(e); e = 0 }
	od
}

/* Anyone may expire anything. */
proctype Stranger()
{
end:
	do
	:: atomic { expire(FORGED) }
	:: atomic { expire(FAKE) }
	od
}

/* Somebody wants the two receipts. */
proctype Keeper()
{
end:
	do
	:: atomic { CAN_EXPIRE(GENUINE) && !expired[GENUINE] -> expire(GENUINE) }
	:: atomic { CAN_EXPIRE(DEPENDANT) && !expired[DEPENDANT] -> expire(DEPENDANT) }
	od
}

proctype Clock()
{
	do
	:: now < END -> now++
	:: now == END -> break
	od
}

/* What nobody controls. */
proctype Fate()
{
	paused = true;
	paused = false;
	if
	:: verifier_is_dead = true
	:: skip
	fi
}

init
{
	atomic {
		if :: retryable[GENUINE] = true :: skip fi;
		if :: retryable[DEPENDANT] = true :: skip fi;
		run Relayer(); run Relayer(); run Stranger(); run Keeper(); run Clock(); run Fate()
	}
}

#define OUTCOMES(e) (executed[e] + failed[e] + expired[e])

/* Executed at most once. */
ltl S2 { [] (executed[GENUINE] <= 1 && executed[DEPENDANT] <= 1 && executed[FORGED] <= 1) }

/* Outcomes are absorbing: what has its EXPIRED receipt was not executed and never is. */
ltl S8 { [] (OUTCOMES(GENUINE) <= 1 && OUTCOMES(DEPENDANT) <= 1 && OUTCOMES(FORGED) <= 1) }

/* Nothing that was proved under Q, or to nobody, decides an envelope under P. */
ltl S20 { [] (mark[0] == UNDECIDED || executed[GENUINE] > 0 || failed[GENUINE]) }

/* A dependant runs only after what it depends on. */
ltl ORDER { [] (executed[DEPENDANT] == 0 || executed[GENUINE] > 0) }

/* The receiver of a RETRYABLE envelope cannot make it FAILED. */
ltl RETRY { [] !(retryable[GENUINE] && failed[GENUINE]) }

/* Past the deadline everything undecided can be expired, with the verifier dead too. */
ltl L2 { <> (OUTCOMES(GENUINE) > 0) && <> (OUTCOMES(DEPENDANT) > 0) }

/* Not vacuous: these are to be refuted. */
ltl never_executed { [] (executed[DEPENDANT] == 0) }
ltl never_expired { [] !expired[DEPENDANT] }
