// Command network connects the pod networks of machines. It keeps a route to the
// pods of every other machine, directly if both are on one network and through
// vxlan otherwise, and masquerades traffic that leaves the cluster. It uses the
// packages of flannel.
//
// The direct routes are stored in a file and set again at the start, so a machine
// reaches the others after a reboot even during an API outage.
//
// If its configuration says what tasks of jobs can reach, it also keeps them apart; see
// the package isolate. Rules that something removes, as "nft flush ruleset" does, come
// back within a second, and those of kube-proxy within ten.
package main
