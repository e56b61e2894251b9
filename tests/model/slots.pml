/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model for spin of how the threads of one session share the slots of its hold page (client/holds.c). That a slot holds is
 * holds.pml's; here it must not be lost.
 *
 * A thread takes hold: it fills a free slot, and looks whether the block can be held; if not, it empties the slot. It lets go: it
 * empties any slot with the block's id, its own or another thread's; so the slots say how many holds there are, and not whose.
 * A slot that is being taken is claimed: its thread alone may change it. One that finds no slot begins again: holds may have been moved
 * past it.
 *
 * What must hold. There are as many slots with an id as holds on the block, or more: the assertions. In the end there are none.
 *
 * UNCLAIMED: a slot that is being taken has the bare id, and COMPARED: it is emptied only if it has that still. LEAKS: what is left in the end does
 * not matter.
 */
#define SLOTS 2
#define THREADS 3
#define X 1
#define Y 2
#define CLAIMED 4
#ifdef UNCLAIMED
#define filling(id) (id)
#else
#define filling(id) ((id) | CLAIMED)
#endif

byte slot[SLOTS];
byte held[3];     /* by id: what the program believes */
bit dying[3];     /* by id: it cannot be held now */
byte at_work = THREADS;

#define has(i, id) ((slot[i] & 3) == id)
#define is_backed(id) (has(0, id) + has(1, id) >= held[id])

inline empty_own(i, id)
{
#if defined(UNCLAIMED) && defined(COMPARED)
	atomic {
		if
		:: slot[i] == id -> slot[i] = 0
		:: else
		fi
	}
#else
	slot[i] = 0
#endif
}

proctype thread(byte id, home)
{
	byte i = home;
	byte rounds = 2;

	do
	:: rounds == 0 -> break
	:: else ->
		rounds--;
		i = home;
		if
		:: atomic { slot[home] == 0 -> slot[home] = filling(id) }
		:: atomic { slot[home] != 0 && slot[1 - home] == 0 -> i = 1 - home; slot[i] = filling(id) }
		:: slot[0] != 0 && slot[1] != 0 -> goto next /* by request */
		fi;
		if
		:: atomic { !dying[id] -> held[id]++ };
#ifndef UNCLAIMED
			slot[i] = id;
#endif
			assert(is_backed(id)); /* it uses the block */
			held[id]--;
			i = home;
			do
			:: atomic { slot[i] == id -> slot[i] = 0; break }
			:: slot[i] != id -> i = 1 - i
			od
		:: dying[id] -> empty_own(i, id)
		fi;
		assert(is_backed(X) && is_backed(Y));
next:
		skip
	od;
	at_work--
}

active proctype owners()
{
end:
	do
	:: at_work > 0 -> dying[X] = !dying[X]
	od
}

active proctype check()
{
	at_work == 0;
#ifndef LEAKS
	assert(slot[0] == 0 && slot[1] == 0)
#endif
}

init {
	atomic {
		run thread(X, 0);
		run thread(X, 1);
		run thread(Y, 1)
	}
}
