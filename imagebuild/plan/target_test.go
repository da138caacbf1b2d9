package plan_test

import (
	"io/fs"

	"github.com/piimg/piimg/imagebuild/ext4"
	"github.com/piimg/piimg/imagebuild/fat"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/plan/plantest"
)

// What plans are applied to.
var (
	_ plan.Target      = (*fat.FS)(nil)
	_ plan.PosixTarget = (*ext4.FS)(nil)
	_ plan.PosixTarget = (*plantest.FS)(nil)
	_ fs.ReadLinkFS    = (*ext4.FS)(nil)
)
