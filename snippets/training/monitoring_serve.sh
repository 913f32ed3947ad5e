# --8<-- [start:serve]
tensorboard --logdir runs/first
# --8<-- [end:serve]

# --8<-- [start:remote]
ssh -L 6006:localhost:6006 you@gpu-machine \
  tensorboard --logdir runs --port 6006
# --8<-- [end:remote]
