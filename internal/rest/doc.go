// Package rest has the REST server of PAI and its client. Both implement one
// interface, JobAPI: Core with the cluster, Client with HTTP. The Handler of the
// server translates between them and decides nothing.
//
// To add an endpoint, add a line to the table in endpoints.go and its function
// below. An endpoint of a new operation on jobs also is a method of JobAPI, with
// its implementation in Core and in Client.
//
// It must not import releases, machines, or configuration files, and runs no
// operation: users submit and stop jobs while an upgrade is in progress.
package rest
