// Package portal is the server of PAI's web portal. It serves the page, keeps the login
// of a browser in a sealed cookie that no script can read, and forwards the requests of
// the page to the REST server, with the token of the login. It has no rights, no
// state, and no access to the Kubernetes API: two of them behind one address are one.
package portal
