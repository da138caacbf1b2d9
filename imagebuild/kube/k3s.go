package kube

import (
	"errors"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/nodes"
)

func (p *planner) planK3s() error { return errors.New("k3s is not supported yet") }

func k3sRequirements(c *nodes.Config, arch string, n nodes.Node) []artifacts.Requirement { return nil }
