package kube

import (
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/piimg/piimg/imagebuild/nodes"
)

//go:embed templates/*.yaml
var templates embed.FS

// render fills in one of the templates.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return b.String(), nil
}

// planCNI adds the manifest that connects the pods, which the first control plane
// applies.
func (p *planner) planCNI() error {
	switch p.k.CNI.Kind {
	case nodes.Flannel:
		image := mirrored(p.k, flannelImage)
		text, err := render("flannel.yaml", map[string]any{
			"Version":     image[strings.LastIndexByte(image, ':')+1:],
			"PodSubnet":   p.k.PodSubnet,
			"Image":       image,
			"PluginImage": mirrored(p.k, flannelPluginImage),
		})
		if err != nil {
			return err
		}
		p.private(dir+"/cni.yaml", text)
	case nodes.ManifestCNI:
		if err := checkManifest(p.k.CNI.Manifest); err != nil {
			return fmt.Errorf("the manifest %s: %w", p.k.CNI.Path, err)
		}
		p.private(dir+"/cni.yaml", string(p.k.CNI.Manifest))
	case nodes.NoCNI:
		p.notice("No CNI is set up (cni: none): nodes stay NotReady until you install one.")
	}
	return nil
}
