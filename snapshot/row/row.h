/*
 * snapshot/row/row.h - the canonical form of a row: one compact JSON object on one line; its key, file name and file
 * text. All of the folder for who works with rows; each part is in the header named after it.
 *
 * A row's key, name, size and time are pure functions of its line and its table's description (struct row_codec), so
 * that a backup copied to another host shows the same tree.
 *
 * The line: columns in table order, generated ones left out, no white space outside of strings, no final newline.
 *
 *   form of the column   the value in the line
 *   ------------------   ---------------------
 *   text                 a string; only '"', '\\' and bytes below 0x20 are escaped, all other bytes are the server's
 *   number               the server's digits where they are a JSON number, else a string that holds them (NaN, 007)
 *   bool                 true, false
 *   binary               a string of base64
 *   json                 (jsonb, MySQL's json) objects, arrays, numbers, true, false: spliced in, tokens untouched,
 *                        white space removed. A JSON string or JSON null: a string that holds its JSON text ("\"x\"",
 *                        "null"), so that it differs from NULL
 *   json_text            (json kept as text) spliced in when it is an object or array without white space between
 *                        tokens, else a string that holds the text
 *   any, NULL            null
 *
 * Dynamic tables (SQLite), where each value has a type of its own:
 *
 *   value                                the value in the line
 *   -----                                ---------------------
 *   INTEGER, REAL                        a number; REAL always has a '.', 'e' or 'E' in it
 *   REAL that JSON cannot write (Inf)    {"$real":"..."}
 *   TEXT                                 as text or json_text above; in a column of bytes {"$text":"..."}
 *   BLOB                                 as binary above; in any other column {"$blob":"base64"}
 *
 * A document that looks like one of these three is a string.
 */
#pragma once

#include "snapshot/row/codec.h"
#include "snapshot/row/decode.h"
#include "snapshot/row/digest.h"
#include "snapshot/row/encode.h"
#include "snapshot/row/file_text.h"
#include "snapshot/row/key.h"
#include "snapshot/row/name.h"
#include "snapshot/row/updated.h"
