/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Output on its way to main. libssh gives it packet by packet, inside any of its calls; one advance
 * of a visit makes one report of it, as a rule. A report does not end inside a UTF-8 character
 * where that can be helped: the few bytes of one that is not whole wait for the rest.
 */
#include "daemon/kind-ssh.h"

#include "common/util.h"

#include <assert.h>

bool visit_output_is_held(const struct visit *visit)
{
	return visit->unstored > UNSTORED_MAX;
}

/* How many bytes at the end begin a character that is not whole yet (RFC 3629). */
static size_t incomplete_size(const char *bytes, size_t size)
{
	for (size_t n = 1; n <= UTF8_TAIL_MAX && n <= size; n++) {
		unsigned char c = (unsigned char)bytes[size - n];

		if (c >= 0xc0)
			return n < (c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : 2u) ? n : 0;
		if (c < 0x80)
			return 0;
	}
	return 0;
}

static void hand_over(struct visit *visit, enum stream stream, const char *bytes, size_t size)
{
	if (size == 0)
		return;
	visit->unstored += size;
	worker_output(visit->engine->worker, visit->task, stream, bytes, size);
}

/* What was collected leaves, but for the begin of a character, which the visit keeps. */
static void hand_over_piece(struct piece *piece)
{
	struct visit *visit = piece->visit;
	size_t tail = incomplete_size(piece->bytes, piece->size);

	hand_over(visit, piece->stream, piece->bytes, piece->size - tail);
	memcpy(visit->tails[piece->stream], piece->bytes + piece->size - tail, tail);
	visit->tail_sizes[piece->stream] = (uint8_t)tail;
	piece->size = 0;
}

void visit_output_flush(struct visit *visit, bool is_end)
{
	struct piece *piece = &visit->engine->piece;

	assert(piece->size == 0 || piece->visit == visit);
	if (piece->size > 0)
		hand_over_piece(piece);
	for (int stream = 0; is_end && stream < STREAM_COUNT; stream++) {
		hand_over(visit, (enum stream)stream, visit->tails[stream],
			  visit->tail_sizes[stream]);
		visit->tail_sizes[stream] = 0;
	}
}

static void collect(struct piece *piece, const char *bytes, size_t size)
{
	struct visit *visit = piece->visit;

	while (size > 0) {
		uint8_t *tail_size = &visit->tail_sizes[piece->stream];
		size_t part;

		if (piece->size == 0) {
			memcpy(piece->bytes, visit->tails[piece->stream], *tail_size);
			piece->size = *tail_size;
			*tail_size = 0;
		}
		part = sizeof(piece->bytes) - piece->size;
		part = part < size ? part : size;
		memcpy(piece->bytes + piece->size, bytes, part);
		piece->size += part;
		bytes += part;
		size -= part;
		if (piece->size == sizeof(piece->bytes))
			hand_over_piece(piece);
	}
}

void visit_output(struct visit *visit, enum stream stream, const char *bytes, size_t size)
{
	struct piece *piece = &visit->engine->piece;
	int64_t room = visit->options->max_output - visit->output_sizes[STREAM_STDOUT] -
		       visit->output_sizes[STREAM_STDERR];

	if ((int64_t)size > room) {
		visit->is_over_limit = true;
		size = (size_t)room;
	}
	visit->output_sizes[stream] += (int64_t)size;
	/* The order between the streams is kept, too, as far as the server kept it. */
	if (piece->size > 0 && piece->stream != stream)
		hand_over_piece(piece);
	piece->visit = visit;
	piece->stream = stream;
	collect(piece, bytes, size);
}
