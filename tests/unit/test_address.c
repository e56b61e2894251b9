/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon is looked for, in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/address.h"
#include "shmbuddy.h"

static void test_order(void **state)
{
	char directory[] = "/tmp/shmbuddy-address-XXXXXX", path[64];
	struct sockaddr_un address;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/shmbuddy.sock", directory);
	unsetenv("SHMBUDDY_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(address_resolve(NULL, &address), 0);
	assert_int_equal(address.sun_family, AF_UNIX);
	assert_string_equal(address.sun_path, "/run/shmbuddy/shmbuddy.sock");

	setenv("XDG_RUNTIME_DIR", directory, 1);
	assert_int_equal(address_resolve(NULL, &address), 0);
	assert_string_equal(address.sun_path, ADDRESS_DEFAULT); /* there is none yet */
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(address_resolve(NULL, &address), 0);
	assert_string_equal(address.sun_path, path);

	setenv("SHMBUDDY_SOCKET", "", 1);
	assert_int_equal(address_resolve(NULL, &address), 0);
	assert_string_equal(address.sun_path, path);
	setenv("SHMBUDDY_SOCKET", "/set", 1);
	assert_int_equal(address_resolve(NULL, &address), 0);
	assert_string_equal(address.sun_path, "/set");
	assert_int_equal(address_resolve("/given", &address), 0);
	assert_string_equal(address.sun_path, "/given");
	unlink(path);
	rmdir(directory);
}

static void test_length(void **state)
{
	struct sockaddr_un address = {.sun_family = 77};
	char path[sizeof address.sun_path + 1];

	(void)state;
	memset(path, 'p', sizeof path);
	path[sizeof address.sun_path - 1] = '\0';
	assert_int_equal(address_resolve(path, &address), 0); /* the longest */
	assert_string_equal(address.sun_path, path);
	address.sun_family = 77;
	path[sizeof address.sun_path - 1] = 'p';
	path[sizeof address.sun_path] = '\0';
	assert_int_equal(address_resolve(path, &address), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(address_resolve("", &address), -SHMB_E_INVALID_ARGUMENT);
	assert_int_equal(address.sun_family, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
