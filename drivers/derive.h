/*
 * drivers/derive.h - generated columns whose value is a member of a JSON document of the same row.
 */
#pragma once

#include "drivers/schema.h"

/* Takes the derivation out of a generated column's expression: fills document and member of *c when `expression` is,
 * cast and quoting aside, one JSON member of one column (PostgreSQL: json ->> 'id', MySQL: json_unquote(json_extract(
 * `json`,'$.id')), `json` ->> '$.id', SQLite: json_extract(json,'$.id'), json ->> '$.id', json ->> 'id'); else leaves
 * them NULL. Casts to text types of any length, to integers and numeric are stripped: a value that a cast changed is
 * found out when the row is read. */
void db_column_derive(struct db_column *c, const char *expression);
