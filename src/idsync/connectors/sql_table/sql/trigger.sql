-- One trigger; its body are the log_* statements. Only SQL of SQLite 3.38: the application brings its own SQLite.
CREATE TRIGGER {name} {moment} ON {table} {condition} BEGIN
  {body};
END
