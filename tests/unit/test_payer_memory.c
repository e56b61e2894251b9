/* SPDX-License-Identifier: Apache-2.0 */
/* Where there is no memory for what accounts and payers are kept in, whichever piece fails, nothing of the others is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/accounts.h"
#include "server/payer.h"
#include "tests/unit/failing_region.h"

static void test_payers(void **state)
{
	struct payers payers;
	int fails = 0;

	(void)state;
	for (;; fails++) {
		regions_until_failure = fails;
		int result = payers_init(&payers, 16, 100);
		if (result == 0)
			break;
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(regions_open, 0);
	}
	assert_true(fails > 4);
	regions_until_failure = -1;
	payers_deinit(&payers);
	assert_int_equal(regions_open, 0);
}

static void test_accounts(void **state)
{
	static struct accounts accounts;

	(void)state;
	regions_until_failure = 0;
	assert_int_equal(accounts_init(&accounts, NULL, NULL, NULL), -ENOMEM);
	regions_until_failure = -1;
	accounts_close(&accounts);
	accounts_deinit(&accounts);
	assert_int_equal(regions_open, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_payers),
		cmocka_unit_test(test_accounts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
