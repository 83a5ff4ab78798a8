//! Tests of the control requests on a scripted cluster: which are sent, how often and on which
//! connection, and how invalid responses are handled.

mod bootstrap;
mod control;
mod framing;
mod guard;
