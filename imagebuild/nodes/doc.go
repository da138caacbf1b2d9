// Package nodes reads nodes.yaml, the one file that says what a cluster is: the
// base image, the network, and the nodes.
//
// [Load] reads the file strictly, checks every value, and resolves what it
// refers to, so that nothing that comes later fails on the user's input: paths
// become absolute, key files are read, passwords and passphrases are fetched
// from the files and variables that hold them. All that is wrong is reported at
// once, as an [Error], each problem with its line and column, the line itself,
// and what to do about it.
//
// # Defaults
//
// The keys of defaults are those of a node, except hostname, ip and mac. A
// node's own value replaces the default as a whole: a list replaces the list,
// and a mapping such as wifi the mapping. Only user is merged, by its keys name,
// password and authorizedKeys, each of which is replaced as a whole. A key of a
// node that is null takes the default back, as if it had not been given; an empty
// list is a list without items. Values of defaults are checked even if no node
// uses them.
//
// # Secrets
//
// No password and no passphrase stands in the file: they are given by a hash, or
// by the file or environment variable that holds them. Clear text is refused,
// and neither the message nor the line that it shows has it. What was read is
// kept as a [Secret], which prints as a placeholder.
//
// # Kubernetes
//
// With a kubernetes block the control planes and the workers form a cluster, and
// the first control plane of the file starts it; without one all roles configure
// a host in the same way. Its subnets must be apart from each other and from
// everything that the nodes reach. Several control planes need an endpoint that
// none of them has: an address of cluster.network that is free is held by
// kube-vip, others by whatever leads to the control planes' port 6443. Without
// workers the control planes run the workloads, and get no taint. Which versions
// a base image can run is not known here.
//
// # Paths
//
// Paths of this computer are relative to the folder of nodes.yaml; ~ is the home
// folder. On Windows both kinds of slashes separate. Whether the base image is
// there is not checked here, since it may have to be downloaded first.
//
// # Schema
//
// [Schema] returns a JSON Schema for editors. It is generated from the types
// that the file is read by (document.go), and says less than Load checks.
package nodes
