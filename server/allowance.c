/* SPDX-License-Identifier: Apache-2.0 */
/* Time that work may take: see allowance.h. What is left grows with the time that passes, and is never more than one slice at once. */
#include "allowance.h"

void allowance_init(struct allowance *allowance, uint64_t now)
{
	*allowance = (struct allowance){.left = ALLOWANCE_MAX_NS, .at = now};
}

bool allowance_is_left(struct allowance *allowance, uint64_t now)
{
	uint64_t gained = (now - allowance->at) / ALLOWANCE_SHARE;

	if (gained >= (uint64_t)(ALLOWANCE_MAX_NS - allowance->left)) {
		allowance->left = ALLOWANCE_MAX_NS;
		allowance->at = now;
	} else {
		allowance->left += (int64_t)gained;
		allowance->at += gained * ALLOWANCE_SHARE; /* what is no whole part yet is not lost */
	}
	return allowance->left > 0;
}

void allowance_spend(struct allowance *allowance, uint64_t took)
{
	uint64_t most = UINT64_C(1) << 40; /* twenty minutes: nothing takes so long, and nothing overflows */

	allowance->left -= (int64_t)(took < most ? took : most);
	if (allowance->left < -(int64_t)most)
		allowance->left = -(int64_t)most;
}

uint64_t allowance_wait_ms(const struct allowance *allowance)
{
	return allowance->left > 0 ? 1 : (uint64_t)-allowance->left * ALLOWANCE_SHARE / 1000000 + 1;
}
