-- One identity, and a second one if there are two. With a lock it waits for whoever is changing the row.
SELECT {key} AS id, {row} AS image FROM {table} AS r WHERE {condition} LIMIT 2 {lock}
