// Command network carries the pods' network between machines: it keeps a
// route to every other machine's pods (directly where both are on one
// network, through vxlan where they are not) and masquerades what pods send
// out of the cluster. flannel's packages do that work.
//
// What it has set is kept in a file, and set again at start, before the API is
// asked: a machine whose API is away after a reboot still reaches the others.
package main
