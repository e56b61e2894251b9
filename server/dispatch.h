/* SPDX-License-Identifier: Apache-2.0 */
/* From a frame to its handler. Loop thread only. */
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include <stddef.h>
#include <stdint.h>

struct connection;
struct daemon;

/* Decodes one frame and has it handled. What cannot be decoded ends the connection, with a word if one can be sent. */
void dispatch_frame(struct daemon *daemon, struct connection *connection, const uint8_t *payload, size_t size);

#endif
