-- Moves the positions of lanes, never back, in the transaction that settles what is behind them.
UPDATE lane SET position = max(lane.position, k.value ->> 1) FROM json_each(?) AS k WHERE lane.id = k.value ->> 0
