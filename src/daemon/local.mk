# src/daemon: wires everything; the programs' main files stand here and in ctl.
