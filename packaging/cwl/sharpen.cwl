#!/usr/bin/env cwl-runner
# An application package of `decametre sharpen` (OGC Best Practice for Earth Observation Application
# Packages, 20-089r1): a workflow that platforms deploy, and the command line tool that it runs.
#
#   cwltool packaging/cwl/sharpen.cwl#sharpen --product S2B_MSIL2A_....SAFE
#
# The image is built from the Dockerfile at the root of the repository.
cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 0.1.0
$graph:
  - class: Workflow
    id: sharpen
    label: Sentinel-2 at 10 m
    doc: Brings the 20 m and 60 m bands of a Sentinel-2 product to 10 m.
    inputs:
      product:
        type: Directory
        label: A SAFE folder, or a folder of a STAC item (item.json) with its bands
      bbox:
        type: string?
        label: Part of the product, WEST,SOUTH,EAST,NORTH in degrees
      bands:
        type: string?
        label: Bands to write, such as B05,B11
      consistent:
        type: boolean
        default: false
        label: Make the result agree with the input when it is degraded with the sensor's MTF
    outputs:
      results:
        type: Directory
        outputSource: run/results
    steps:
      run:
        run: "#sharpen-tool"
        in: {product: product, bbox: bbox, bands: bands, consistent: consistent}
        out: [results]
  - class: CommandLineTool
    id: sharpen-tool
    requirements:
      DockerRequirement: {dockerPull: "decametre:0.1.0"}
      ResourceRequirement: {coresMin: 2, ramMin: 8192}
      NetworkAccess: {networkAccess: false}
      InlineJavascriptRequirement: {}
      InitialWorkDirRequirement:
        listing:
          - entry: "$({class: 'Directory', basename: 'results', listing: []})"
            entryname: results
            writable: true
    baseCommand: [decametre, sharpen]
    arguments:
      - position: 2
        valueFrom: results/sharp.tif
    inputs:
      product:
        type: Directory
        inputBinding:
          position: 1
          # A folder with item.json is a STAC item; any other is a SAFE folder.
          valueFrom: |
            ${
              var files = (self.listing || []).filter(function (file) {
                return file.basename === "item.json";
              });
              return files.length ? self.path + "/item.json" : self.path;
            }
        loadListing: shallow_listing
      bbox:
        type: string?
        inputBinding: {prefix: --bbox=, separate: false}
      bands:
        type: string?
        inputBinding: {prefix: --bands}
      consistent:
        type: boolean
        inputBinding: {prefix: --consistent}
    outputs:
      results:
        type: Directory
        outputBinding: {glob: results}
