/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on tickets and times to live: see operation.h. A ticket that was made is offered in the ledger; whoever takes it from there is the
 * only one to ask for it, at whatever seat, and also when its maker has been killed. It is good for as long as it was made for, and then it
 * may be gone: that is the one excuse for a refusal.
 */
#include "tests/storm/client.h"
#include "tests/support/pattern.h"

/* Milliseconds: some expire before anybody takes them, and all soon, so that the storm can come to rest. */
#define TTL_MAX 300

static uint64_t draw_ttl(struct client *client)
{
	return 1 + pattern_below(&client->random, pattern_below(&client->random, 4) ? TTL_MAX : 5);
}

/* Until when it is good at least, if it is asked for now. */
static uint64_t good_until(uint64_t ttl_ms)
{
	return ledger_boot_ns() + ttl_ms * 1000000;
}

bool operation_share(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);
	struct ledger_ticket *entry = hold ? ledger_vacant_ticket(client->seat) : NULL;
	shmb_share_options options = {.ttl_ms = draw_ttl(client)};
	shmb_ticket ticket;

	if (!entry)
		return false;
	hold->secret = false;
	uint64_t serial = ledger_next_serial(client->seat), until = good_until(options.ttl_ms);
	atomic_store(&entry->word, NAME_WORD(serial, TICKET_SHARING));
	int result = CLIENT_CALL(client, shmb_share(client->session, hold->handle, &options, &ticket));
	if (result < 0) {
		/* The daemon was killed over it, and it had expired before the next one could answer. */
		CLIENT_EXPECT(client, (result == -SHMB_E_NO_SUCH_TICKET && ledger_boot_ns() >= until) ||
		                          operation_is_limited(client, result));
		atomic_store(&entry->word, NAME_WORD(serial, TICKET_NONE));
		return true;
	}
	ledger_offer(entry, &(struct ledger_offer){ticket, until, hold->size, hold->seed, hold->filled});
	return true;
}

/* One that is offered at a seat, taken from there. */
static bool take_offer(struct client *client, struct seat *seat, struct ledger_offer *out_offer)
{
	uint64_t at = pattern_below(&client->random, LEDGER_TICKETS);

	for (unsigned tries = 0; tries < LEDGER_TICKETS; tries++, at = (at + 1) % LEDGER_TICKETS)
		if (ledger_take_offer(&seat->tickets[at], out_offer))
			return true;
	return false;
}

bool operation_redeem(struct client *client)
{
	struct seat *seat = &client->ledger->seats[pattern_below(&client->random, LEDGER_SEATS)];
	struct ledger_hold *hold = ledger_vacant_hold(client->seat);
	struct ledger_offer offer;
	shmb_block block, again;

	if (!hold || !take_offer(client, seat, &offer))
		return false;
	*hold = (struct ledger_hold){.size = offer.size, .seed = offer.seed, .filled = offer.filled};
	atomic_store(&hold->state, HOLD_ASKED);
	int result = CLIENT_CALL(client, shmb_redeem(client->session, offer.ticket, &block));
	if (result < 0) {
		CLIENT_EXPECT(client, result == -SHMB_E_NO_SUCH_TICKET && ledger_boot_ns() >= offer.until);
		atomic_store(&hold->state, HOLD_NONE);
		return true;
	}
	CLIENT_EXPECT(client, block.size == hold->size);
	client_check_address(client, &block);
	hold->sealed = block.sealed;
	hold->handle = block.handle;
	hold->offset = block.offset;
	atomic_store(&hold->state, HOLD_HELD);
	client_verify(client, hold);
	if (pattern_below(&client->random, 8) == 0) {
		result = CLIENT_CALL(client, shmb_redeem(client->session, offer.ticket, &again));
		CLIENT_EXPECT(client, result == -SHMB_E_NO_SUCH_TICKET);
	}
	return true;
}

bool operation_revoke(struct client *client)
{
	struct ledger_offer offer;

	if (!take_offer(client, client->seat, &offer))
		return false;
	int result = CLIENT_CALL(client, shmb_revoke(client->session, offer.ticket));
	CLIENT_EXPECT(client, result == 0 || (result == -SHMB_E_NO_SUCH_TICKET && ledger_boot_ns() >= offer.until));
	return true;
}

/* Only blocks that never have a name: the ledger says of names that they stay until they are taken away. */
bool operation_renew(struct client *client)
{
	const struct ledger_hold *hold = client_any_hold(client);

	if (!hold || !(hold->seed & LEDGER_TIMED))
		return false;
	uint64_t ttl_ms = pattern_below(&client->random, 4) ? draw_ttl(client) : 0;
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_renew(client->session, hold->handle, ttl_ms)) == 0);
	return true;
}
