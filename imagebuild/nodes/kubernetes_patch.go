package nodes

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// patchPattern is how kubeadm names patches: TARGET[SUFFIX][+TYPE].EXTENSION.
const patchPattern = `^(etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubeletconfiguration|corednsdeployment)[^.+\n]*(\+(json|merge|strategic))?\.(json|yaml)$`

var patchRE = regexp.MustCompile(patchPattern)

// maxManifest is the size of the largest patch or manifest that is read.
const maxManifest = 8 << 20

// patches reads the folder of kubeadm's patches. Kubeadm itself passes over
// files whose names it does not know; here they are refused, since nobody would
// look for what a patch did not do.
func (c *checker) patches(v text) []KubeadmPatch {
	dir, ok := c.folder(v, "name the folder that holds the patches")
	if !ok {
		return nil
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		c.fail(at(v), "", "cannot read the folder: %v", err)
		return nil
	}
	var patches []KubeadmPatch
	for _, e := range entries {
		name := e.Name()
		if containsWord(droppings, name) {
			continue
		}
		m := patchRE.FindStringSubmatch(name)
		if m == nil {
			c.fail(at(v), "name it TARGET[SUFFIX][+TYPE].yaml, such as kube-apiserver0+merge.yaml: the targets are etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubeletconfiguration and corednsdeployment, the types strategic, merge and json",
				"%s is no name of a patch", filepath.Join(dir, name))
			continue
		}
		content, ok := c.readBeside(v, filepath.Join(dir, name))
		if !ok {
			continue
		}
		c.patchContent(v, filepath.Join(dir, name), m[3], content)
		patches = append(patches, KubeadmPatch{Name: name, Content: content})
	}
	if len(entries) == 0 {
		c.notice(at(v), "the folder of patches is empty")
	}
	return patches
}

// patchContent checks what kubeadm's patch of a kind must hold.
func (c *checker) patchContent(v text, path, kind string, content []byte) {
	docs, err := documents(content)
	switch {
	case err != nil:
		c.fail(at(v), "", "%s: %v", path, err)
		return
	case len(docs) == 0:
		c.fail(at(v), "remove it, or write the patch", "%s is empty", path)
	}
	for _, d := range docs {
		switch {
		case kind == "json" && !d.list:
			c.fail(at(v), "write a list such as [{op: add, path: /spec/…, value: …}], or name the file +merge or +strategic", "%s: a JSON patch is a list of operations", path)
		case kind != "json" && !d.mapping:
			c.fail(at(v), "write the part of the object that changes, or name the file +json", "%s: the patch is not a mapping", path)
		default:
			continue
		}
		return
	}
}

// folder checks a folder of this computer that must be there.
func (c *checker) folder(v text, hint string) (string, bool) {
	p, info, ok := c.stat(v)
	if !ok {
		return "", false
	}
	if !info.IsDir() {
		c.fail(at(v), hint, "%s is not a folder", p)
		return "", false
	}
	return p, true
}

// artifacts checks the path of a folder that piimg makes if there is none.
func (c *checker) artifacts(v text) string {
	path, ok := c.resolve(v)
	if !ok {
		return ""
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		c.fail(at(v), "name the folder that holds the packages, programs and images", "%s is not a folder", path)
	}
	return path
}

// readBeside reads a file that the file at v names in some way.
func (c *checker) readBeside(v text, path string) ([]byte, bool) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		c.fail(at(v), "", "%v", err)
	case !info.Mode().IsRegular():
		c.fail(at(v), "", "%s is not a regular file", path)
	case info.Size() > maxManifest:
		c.fail(at(v), "", "%s has %d bytes; at most %d are read", path, info.Size(), maxManifest)
	default:
		content, err := os.ReadFile(path)
		if err != nil {
			c.fail(at(v), "", "%v", err)
			return nil, false
		}
		return content, true
	}
	return nil, false
}

// cni checks what connects the pods.
func (c *checker) cni(v value[cniDoc]) CNI {
	d := v.V
	if d.Name.Set() {
		switch kind := CNIKind(d.Name.V); kind {
		case Flannel, NoCNI:
			return CNI{Kind: kind}
		}
		c.fail(at(d.Name), "write flannel or none; for another one {manifest: FILE}", "there is no cni %q", d.Name.V)
		return CNI{}
	}
	if !d.Manifest.Set() {
		return CNI{}
	}
	if strings.Contains(d.Manifest.V, "://") {
		c.fail(at(d.Manifest), "download it, and name the file: what a URL gives changes", "the manifest is a URL")
		return CNI{}
	}
	path, _, ok := c.statFile(d.Manifest)
	if !ok {
		return CNI{}
	}
	content, ok := c.readBeside(d.Manifest, path)
	if !ok {
		return CNI{}
	}
	docs, err := documents(content)
	if err != nil {
		c.fail(at(d.Manifest), "", "%s: %v", path, err)
		return CNI{}
	}
	if len(docs) == 0 {
		c.fail(at(d.Manifest), "name the CNI's manifest", "%s is empty", path)
		return CNI{}
	}
	for _, doc := range docs {
		if !doc.object {
			c.fail(at(d.Manifest), "name the CNI's manifest as kubectl apply takes it", "%s:%d: this is no object of Kubernetes: it has no apiVersion and kind", path, doc.line)
			return CNI{}
		}
	}
	return CNI{Kind: ManifestCNI, Manifest: content, Path: path}
}
