# --8<-- [start:serve]
tensorboard --logdir runs
# --8<-- [end:serve]
