// Package rest is PAI's REST server and its client. Both sides implement one
// interface, JobAPI: Core on top of the cluster, Client on top of HTTP; the
// handler of the server is between them and decides nothing.
//
// It may not know releases, machines or configuration files, and runs no
// operation: jobs come and go while the cluster below is upgraded by others.
package rest
