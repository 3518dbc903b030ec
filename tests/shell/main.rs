//! Tests of the shell through its seams: router, sockets, command line.
