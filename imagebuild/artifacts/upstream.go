package artifacts

// Upstream returns where a requirement is fetched from: an https URL, the
// reference of an image, or "" if piimg does not fetch it. Binaries, if not
// empty, is a mirror with the paths of both dl.k8s.io (release/v1.34.1/bin/…) and
// github.com (OWNER/NAME/releases/download/…).
func Upstream(r Requirement, binaries string) string { return r.From }
