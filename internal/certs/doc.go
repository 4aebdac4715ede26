// Package certs knows the certificates of a machine: which there are, when they
// end, how they are renewed, and which requests for certificates are approved. It
// runs on the machine, in PAI's helper. It uses no Kubernetes library, so that the
// helper stays small.
package certs
