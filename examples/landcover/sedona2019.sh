#!/usr/bin/env bash
# The chain of Sedona et al. (2019, Remote Sensing 11(24) 3056), from the archive to its tables.
#
#   ARCHIVE=BigEarthNet-v1.0 bash sedona2019.sh                     # one process
#   ARCHIVE=BigEarthNet-v1.0 RANKS=4 bash sedona2019.sh             # 4 devices of this machine
#   ARCHIVE=BigEarthNet-v1.0 LAUNCH="srun decametre" bash sedona2019.sh  # nodes of a SLURM job
#
# On a few patches, to see the chain run in minutes, without lists and with a small network:
#
#   ARCHIVE=/data/bigearthnet/v1 LISTS= EPOCHS=1 BATCH=4 BACKBONE=test_resnet bash sedona2019.sh
#
# WORK holds all results. Steps whose result exists are skipped; a stopped training resumes.
set -euo pipefail
: "${ARCHIVE:?give ARCHIVE, the folder of BigEarthNet v1}"
WORK=${WORK:-sedona2019}
LISTS=${LISTS-$ARCHIVE}        # folder of train.csv, val.csv, test.csv and the lists to exclude
RANKS=${RANKS:-1}
EPOCHS=${EPOCHS:-100}          # the paper's
BATCH=${BATCH:-64}             # patches for each rank, the paper's
BACKBONE=${BACKBONE:-resnet50}
DECAMETRE=${DECAMETRE:-decametre}
if [ "$RANKS" -gt 1 ]; then
    LAUNCH=${LAUNCH:-torchrun --standalone --nproc-per-node $RANKS -m decametre}
fi
LAUNCH=${LAUNCH:-$DECAMETRE}
mkdir -p "$WORK"

# 1. Archive -> store. 43 classes, without snowy and cloudy patches, with the published splits.
store=$WORK/bigearthnet.h5
split=test
if [ -n "$LISTS" ]; then
    lists=(--exclude "$LISTS/patches_with_seasonal_snow.csv"
           --exclude "$LISTS/patches_with_cloud_and_shadow.csv"
           --split "train=$LISTS/train.csv" --split "validation=$LISTS/val.csv"
           --split "test=$LISTS/test.csv")
else
    # Every third patch is for validation, and scored.
    split=validation
    for part in train validation; do
        find "$ARCHIVE" -mindepth 1 -maxdepth 1 -type d -name "S2*" -printf "%f\n" | sort |
            awk -v part=$part '(NR % 3 == 0) == (part == "validation")' > "$WORK/$part.txt"
    done
    lists=(--split "train=$WORK/train.txt" --split "validation=$WORK/validation.txt")
fi
[ -f "$store" ] || "$DECAMETRE" patches import "$ARCHIVE" "$store" --classes 43 "${lists[@]}"

# 2. Train on three bands and on all twelve. Batch and learning rate grow with the ranks (linear rule
#    with warm-up, in the recipe).
for bands in rgb multispectral; do
    chosen=()
    [ "$bands" = rgb ] && chosen=(--set "network.bands=[B02,B03,B04]")
    [ -f "$WORK/$bands/card.json" ] && continue
    $LAUNCH train landcover_resnet50 --train "$store" --validation "$store" --out "$WORK/$bands" \
        --set "network.backbone=$BACKBONE" --set "optimization.epochs=$EPOCHS" \
        --set "optimization.batch=$((BATCH * RANKS))" "${chosen[@]}"
done

# 3. Tables 2 (averages) and 3 (F1 of each class with its support) in scores/scores.md, and the F1 of
#    each class and the confusion of classes in scores/figures. Thresholds are those of the
#    validation split.
[ -f "$WORK/scores/scores.md" ] || $LAUNCH landcover evaluate "$store" --split "$split" \
    --model "$WORK/rgb" --model "$WORK/multispectral" --out "$WORK/scores"

# 4. Speed-up and efficiency for more ranks, measured on this machine and modelled beyond it.
if [ "$RANKS" -gt 1 ]; then
    "$DECAMETRE" bench scaling landcover_resnet50 --train "$store" --validation "$store" \
        --set "network.backbone=$BACKBONE" --ranks "$RANKS" --out "$WORK/scaling"
fi
