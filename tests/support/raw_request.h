/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_request: the protocol's requests, to be sent as they are. Each is valid until the next of its kind is made, with what it points to: handles
 * are copied, all other bytes are the caller's. Slot and sequence are filled in by who sends it (raw_session.h). Main thread only.
 */
#ifndef TESTS_SUPPORT_RAW_REQUEST_H
#define TESTS_SUPPORT_RAW_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shmbuddy.pb-c.h"

/* `name` may be NULL where it may be empty. Any handle may be NULL, for a request without one. */
Shmbuddy__V1__Request *raw_request_ping(void);
Shmbuddy__V1__Request *raw_request_allocate(uint64_t size, const char *name);
Shmbuddy__V1__Request *raw_request_free(const Shmbuddy__V1__Handle *handle);
Shmbuddy__V1__Request *raw_request_remove(const Shmbuddy__V1__Handle *handle);
Shmbuddy__V1__Request *raw_request_acquire(const Shmbuddy__V1__Handle *handle);

Shmbuddy__V1__Request *raw_request_lookup(const char *name);
Shmbuddy__V1__Request *raw_request_publish(const Shmbuddy__V1__Handle *handle, const char *name);
Shmbuddy__V1__Request *raw_request_publish_range(const Shmbuddy__V1__Handle *handle, const char *name, bool replace,
                                                 uint64_t offset, uint64_t length);
Shmbuddy__V1__Request *raw_request_unpublish(const char *name);

Shmbuddy__V1__Request *raw_request_link(const Shmbuddy__V1__Handle *from, const Shmbuddy__V1__Handle *to);
Shmbuddy__V1__Request *raw_request_unlink(const Shmbuddy__V1__Handle *from, const Shmbuddy__V1__Handle *to);
Shmbuddy__V1__Request *raw_request_collect(void);

Shmbuddy__V1__Request *raw_request_share(const Shmbuddy__V1__Handle *handle, uint64_t ttl_ms);
Shmbuddy__V1__Request *raw_request_redeem(const uint8_t *token, size_t size);
Shmbuddy__V1__Request *raw_request_revoke(const uint8_t *token, size_t size);
Shmbuddy__V1__Request *raw_request_renew(const Shmbuddy__V1__Handle *handle, uint64_t ttl_ms);

Shmbuddy__V1__Request *raw_request_seal(const Shmbuddy__V1__Handle *handle);
Shmbuddy__V1__Request *raw_request_cache(const Shmbuddy__V1__Handle *handle); /* seals it too */
Shmbuddy__V1__Request *raw_request_set_metadata(const Shmbuddy__V1__Handle *handle, const void *metadata, size_t size);
Shmbuddy__V1__Request *raw_request_resize(const Shmbuddy__V1__Handle *handle, uint64_t size);

Shmbuddy__V1__Request *raw_request_clone(uint32_t incarnation, const uint64_t *ids, size_t id_count, const uint32_t *indexes,
                                         size_t index_count);
Shmbuddy__V1__Request *raw_request_end_session(uint32_t number);

#endif
