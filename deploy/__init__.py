"""How parts become a running system: command line, embedded servers, organism, simulation, tour."""
