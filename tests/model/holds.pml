/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model for spin of holds: how a block is held without a request, and freed once nobody holds it (shared/hold_layout.h,
 * server/dying.c). One block, known to all; README.md says what is left out, run.sh what is asked.
 *
 * Memory is that of x86 (TSO): a store goes to the end of its thread's own queue, and from there to memory at some later time, in order; a
 * load reads memory; a fence waits until the queue is empty. Nobody here loads what he may have in his own queue. An atomic has one
 * access to what others see, and a fence, since it is a wait, is one with the load behind it.
 *
 * Happy path: the last known holder goes, the word becomes DYING, the look reads slot by slot while everybody goes on, and the
 * block becomes FREE; or ORPHAN, if a slot has it, until something brings the next look.
 *
 * Two models in one:
 *
 * - As it is, safety is asked for, and the timer's work. Whatever has an orphan looked at again (a Released, the timer, a reconnection, a death)
 *   may come at any moment, or never: so no message can be lost that is not. The daemon and each client are killed once, anywhere.
 * - With RELEASED alone, the messages: an orphan is looked at again when somebody said so, nothing is lost, and the daemon lives.
 *
 * What must hold. Nobody uses the block when it is free: assert(!freed). A block that is looked at when nothing moves any more must have
 * no holder: assert(!still). It is free in the end: the daemon may stop only at `end_free`, so that a block that is forgotten is an
 * invalid end state.
 *
 * NO_CLIENT_FENCE, NO_DAEMON_FENCE, NO_RELEASE_FENCE take out what the protocol relies on. FENCE_ONCE leaves a look the fence at its start, and
 * none later. With ONE_LIST a look frees what became DYING while it was under way, too.
 */

/* The block's word: its state, and whether its owner holds it, which goes in the same store. */
#define OWNED  0 /* LIVE */
#define LIVE   1 /* held by references alone, which the daemon knows */
#define DYING  2
#define ORPHAN 3
#define FREE   4
#define is_holdable(w) ((w) != DYING && (w) != FREE)
#define awaits_release(w) ((w) == DYING || (w) == ORPHAN)

#define CLIENTS 2 /* each with one slot */

/* What a thread has asked the daemon for. It is asked again for as long as there is no answer. */
#define NOTHING 0
#define ACQUIRE 1
#define LET_GO  2

/* Memory, and the stores that are on their way there. */
byte word = OWNED;
bit slot[CLIENTS];
chan word_stores = [2] of { byte };
chan slot_stores[CLIENTS] = [2] of { bit };

/* What the daemon keeps in .state: references, and whose session is dead. */
bit referenced[CLIENTS];
bit gone[CLIENTS];

/* What is between the processes. */
byte asked[CLIENTS];
byte told[CLIENTS]; /* Released that are under way */

bit working[CLIENTS];  /* it has not ended */
bit dead[CLIENTS];     /* it was killed */
bit killed;            /* the daemon was */
bit freed;             /* what `word` says, or will say: the memory may be another's */

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

active proctype memory()
{
end:
	do
	:: slot_stores[0] ? slot[0]
	:: slot_stores[1] ? slot[1]
	:: word_stores ? word
	od
}

/* ---- Clients ---------------------------------------------------------------------------------------------------- */

#ifdef NO_CLIENT_FENCE
#define acquire_fence true
#else
#define acquire_fence empty(slot_stores[t])
#endif
#ifdef NO_RELEASE_FENCE
#define release_fence true
#else
#define release_fence empty(slot_stores[t])
#endif

/* After the slot was emptied. */
inline tell_if_awaited()
{
#ifdef RELEASED
	if
	:: atomic { release_fence && awaits_release(word) -> told[t]++ }
	:: release_fence && !awaits_release(word)
	fi
#else
	skip
#endif
}

/* By request; the answer is whether he has a reference now. */
inline acquire_by_request()
{
	asked[t] = ACQUIRE;
	if
	:: atomic { asked[t] == NOTHING && referenced[t] -> assert(!freed); asked[t] = LET_GO };
		asked[t] == NOTHING
	:: asked[t] == NOTHING && !referenced[t]
	fi
}

proctype client(byte t, rounds)
{
	{
		do
		:: atomic { rounds == 0 -> working[t] = false; break }
		:: atomic { rounds > 0 -> rounds--; slot_stores[t] ! 1 };
			if
			:: acquire_fence && is_holdable(word);
				atomic { assert(!freed); slot_stores[t] ! 0 }; /* it uses the block, and lets go of it */
				tell_if_awaited()
			:: atomic { acquire_fence && !is_holdable(word) -> slot_stores[t] ! 0 };
				tell_if_awaited();
				acquire_by_request()
			fi
		:: t == 0 && rounds > 0 -> rounds--; acquire_by_request() /* all slots are taken, say */
		od
	} unless { dead[t] }
}

/* ---- The daemon ------------------------------------------------------------------------------------------------- */

#ifdef NO_DAEMON_FENCE
#define fence true
#else
#define fence empty(word_stores)
#endif
#ifdef FENCE_ONCE
#define slice_fence true
#else
#define slice_fence fence
#endif

#ifdef ONE_LIST
#define is_looked_for (known == DYING)
#else
#define is_looked_for looked_for
#endif

#define is_referenced (referenced[0] || referenced[1])
#define says_held(i) (slot[i] && !gone[i])
#define asks(t, what) (asked[t] == what && !gone[t])
#define all_is_still (!working[0] && !working[1] && empty(slot_stores[0]) && empty(slot_stores[1]) && dead[0] == gone[0] && dead[1] == gone[1])

inline store(what)
{
	word_stores ! what;
	known = what;
	freed = (what == FREE)
}

/* After a reference has gone. From now on the block waits for a look; one that is under way is not for it. */
inline end_if_unheld()
{
	if
	:: atomic { known == LIVE && !is_referenced -> store(DYING) }
	:: else
	fi
}

/* A DYING block, for somebody who asks for it: all slots are read before anything else is done, or none, and it counts as held. */
inline settle()
{
	next = 0; /* a look that is under way begins again, but for this block it is over */
	looked_for = false;
	do
	:: atomic { next == 0 -> store(ORPHAN); break }
	:: atomic { fence && next < CLIENTS && !says_held(next) -> next++ }
	:: atomic { fence && next < CLIENTS && says_held(next) -> store(ORPHAN); break }
	:: atomic { next == CLIENTS -> store(FREE); break }
	od;
	next = 0
}

inline answer_acquire(t)
{
	if
	:: known == DYING -> settle()
	:: else
	fi;
	if
	:: known != FREE ->
		referenced[t] = true;
		if
		:: atomic { known == ORPHAN -> store(LIVE) }
		:: else
		fi
	:: else
	fi;
	asked[t] = NOTHING
}

inline answer_let_go(t)
{
	referenced[t] = false;
	end_if_unheld();
	asked[t] = NOTHING
}

proctype daemon()
{
	byte known = OWNED; /* what it stored last */
	byte next;          /* the slot that is read next */
	bit looking;        /* a look is under way */
	bit looked_for;     /* ... for the sake of this block */
	bit looked_before;  /* ... for the sake of others: once */
	bit still;          /* nothing moves any more, since before the look */

serve:
	{
		do
		:: known == FREE -> break
		:: atomic { known == OWNED && is_referenced -> store(LIVE) }
		:: atomic { known == OWNED && !is_referenced -> store(DYING) }

		/* A look, slot by slot. */
		:: atomic { !looking && known == DYING && fence -> looking = true; looked_for = true }
		:: atomic { !looking && known < DYING && !looked_before && fence -> looked_before = true; looking = true }
		:: atomic { looking && next < CLIENTS && slice_fence ->
			if
			:: says_held(next) && known == DYING -> assert(!still); store(ORPHAN); looked_for = false
			:: else
			fi;
			next++ }
		:: atomic { looking && next == CLIENTS ->
			looking = false;
			next = 0;
			if
			:: is_looked_for -> looked_for = false; store(FREE)
#ifndef RELEASED
			:: is_looked_for -> looked_for = false; store(ORPHAN) /* a page could not be read */
#endif
			:: else
			fi }

		/* What has an orphan looked at again. */
#ifdef RELEASED
		/* Not where who says so holds it still: he will say so again. */
		:: atomic { told[0] > 0 ->
			told[0]--;
			if
			:: known == ORPHAN && !slot[0] -> store(DYING)
			:: else
			fi }
		:: atomic { told[1] > 0 ->
			told[1]--;
			if
			:: known == ORPHAN && !slot[1] -> store(DYING)
			:: else
			fi }
#else
		:: atomic { known == ORPHAN -> still = all_is_still && !looking; store(DYING) }
#endif

		/* Requests. */
		:: asks(0, ACQUIRE) -> answer_acquire(0)
		:: asks(1, ACQUIRE) -> answer_acquire(1)
		:: asks(0, LET_GO) -> answer_let_go(0)
		:: asks(1, LET_GO) -> answer_let_go(1)

		/* A client has died, and all of its threads are gone: its page counts no more, then its references go. */
		:: atomic { dead[0] && !gone[0] && empty(slot_stores[0]) ->
			gone[0] = true;
			if
			:: known == ORPHAN -> store(DYING)
			:: else
			fi }
		:: gone[0] && referenced[0] -> referenced[0] = false; end_if_unheld()
		:: atomic { dead[1] && !gone[1] && empty(slot_stores[1]) ->
			gone[1] = true;
			if
			:: known == ORPHAN -> store(DYING)
			:: else
			fi }
		:: gone[1] && referenced[1] -> referenced[1] = false; end_if_unheld()
		od;
end_free:
		do
		:: atomic { asked[0] != NOTHING -> asked[0] = NOTHING }
		:: atomic { asked[1] != NOTHING -> asked[1] = NOTHING }
		od
	} unless { killed };

	/* The next one: what the former has stored is there, and all pages are open before anything is done. */
	atomic {
		empty(word_stores) ->
		killed = false;
		known = word;
		next = 0;
		looking = false;
		looked_for = false;
		if
		:: awaits_release(known) && is_referenced -> store(LIVE)
		:: (known == LIVE || known == ORPHAN) && !is_referenced -> store(DYING)
		:: else
		fi
	};
	goto serve
}

/* ---- Who kills -------------------------------------------------------------------------------------------------- */

proctype killer()
{
	bit used;
end:
	do
	:: atomic { working[0] && !dead[0] -> dead[0] = true; working[0] = 0 }
	:: atomic { working[1] && !dead[1] -> dead[1] = true; working[1] = 0 }
#ifndef RELEASED
	:: atomic { !used && !killed -> used = true; killed = true }
#endif
	od
}

init {
	atomic {
		run daemon();
		working[0] = 1;
		working[1] = 1;
		run client(0, 1);
		run client(1, 2);
		run killer()
	}
}
