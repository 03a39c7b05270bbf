"""Training recipes: the shipped YAML files, how recipes are read, and the job that trains one."""
