// Package isolate keeps the tasks of jobs apart: from tasks of other jobs, from the
// machines, and from the pods of the platform. It writes rules of nftables for the pods
// of this machine.
//
// Which pod has which address is read from the files of CNI on this machine, which
// only root can write, so it is known before the pod sends a packet, also during an API
// outage. The addresses of the other tasks of a job come from the EndpointSlices of
// its service, and those of the machines from the nodes. What the API said last is
// stored in a file. The rules stay in the kernel when the program ends.
//
// A pod that is not known yet has the rules of a task without a job: it reaches
// DNS and the networks outside. Packets are dropped, not refused, so a client
// tries again, and a pod waits for the program instead of an error.
package isolate
