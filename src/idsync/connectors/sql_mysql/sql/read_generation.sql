-- Which generation stands.
SELECT generation FROM {capture}
