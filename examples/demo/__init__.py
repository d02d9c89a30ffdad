"""`make demo`: the main job of DetCo Server on real photos, from a folder of pictures to dense features."""
