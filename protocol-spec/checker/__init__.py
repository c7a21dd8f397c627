"""A decoder of the Rallypoint protocol, written from the pages of this folder and nothing else."""
