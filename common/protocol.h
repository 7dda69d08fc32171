/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Varlink framing over a byte stream (UAPI.20): JSON objects, each ended by one NUL byte. Errors,
 * calls and replies are built and taken apart here, so that daemon and client agree by
 * construction. One thread at a time for each frame buffer.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { PROTOCOL_MESSAGE_MAX_DEFAULT = 16 * 1024 * 1024 };

/* Bytes in, messages out; any split of the stream gives the same messages. */
struct frame_buffer {
	char *bytes;
	size_t start, end, capacity; /* filled: [start, end) */
	size_t scanned;              /* no NUL in [start, scanned) */
	size_t message_max;
	bool is_wiped; /* used bytes are overwritten: a password may be among them */
};
void frame_buffer_init(struct frame_buffer *buffer, size_t message_max);
void frame_buffer_done(struct frame_buffer *buffer);
/* Room for reading at least one byte more; *ret_room bytes. Then say how many came. */
char *frame_buffer_room(struct frame_buffer *buffer, size_t *ret_room);
void frame_buffer_filled(struct frame_buffer *buffer, size_t count);
/*
 * The next whole message as a JSON object (the caller's reference). 1: *ret_message is set;
 * 0: more bytes are needed; -EMSGSIZE: longer than message_max; -EBADMSG: not a JSON object, a
 * duplicate key, not UTF-8, or nested deeper than jansson allows. After an error: close.
 */
int frame_buffer_next(struct frame_buffer *buffer, json_t **ret_message);

/* A message with its NUL, ready to be written; *ret_size counts the NUL. The caller frees. */
char *message_encode(const json_t *message, size_t *ret_size);

/* A call, taken apart; pointers into the message. */
struct call_header {
	const char *method; /* "org.jobd.Start" */
	json_t *parameters; /* an object, or NULL (absent, null) */
	bool is_oneway, is_more, is_upgrade;
};
/*
 * -EBADMSG: not a call as UAPI.20 has it (unknown member, wrong types, several flags). A member
 * that is null is as if it were absent, an object named as interfaces are ("org.example") is a
 * vendor's and ignored.
 */
int call_parse(const json_t *message, struct call_header *ret_header);

/* parameters: ownership passes in; NULL and {} are none, and then no member is made. */
json_t *call_build(const char *method, json_t *parameters, bool is_more);
json_t *reply_build(json_t *parameters, bool continues);
/* name is whole: "org.jobd.NoSuchJob". */
json_t *error_build(const char *name, json_t *parameters);

/* A reply, taken apart as strictly; pointers into the message. error is NULL on success. */
struct reply_header {
	const char *error;
	json_t *parameters; /* an object, or NULL */
	bool continues;
};
int reply_parse(const json_t *message, struct reply_header *ret_header);

/* The strings of an array, which has nothing else: pointers into it. The caller frees the list. */
const char **json_strings(const json_t *array, size_t *ret_count);

/* Output bytes <-> members "text" (clean UTF-8 without NUL) or "data" (base64, RFC 4648). */
void bytes_to_json(json_t *object, const char *bytes, size_t size);
/* 0 and the bytes (the caller frees), or -EINVAL. */
int bytes_from_json(const json_t *object, char **ret_bytes, size_t *ret_size);
char *base64_encode(const char *bytes, size_t size);
int base64_decode(const char *text, char **ret_bytes, size_t *ret_size);
