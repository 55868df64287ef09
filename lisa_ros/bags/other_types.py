# SPDX-License-Identifier: Apache-2.0
"""Message types that are written and that rosbags does not know: those of vision_msgs and foxglove_msgs.

Each is a list of fields, as a .msg file has one per line, here separated by ";".
"""

from __future__ import annotations

_VISION = {
    "Point2D": "float64 x; float64 y",
    "Pose2D": "vision_msgs/Point2D position; float64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center; float64 size_x; float64 size_y",
    "BoundingBox3D": "geometry_msgs/Pose center; geometry_msgs/Vector3 size",
    "ObjectHypothesis": "string class_id; float64 score",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis; geometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header; ObjectHypothesisWithPose[] results; BoundingBox2D bbox; string id",
    "Detection3D": "std_msgs/Header header; ObjectHypothesisWithPose[] results; BoundingBox3D bbox; string id",
    "Detection2DArray": "std_msgs/Header header; Detection2D[] detections",
    "Detection3DArray": "std_msgs/Header header; Detection3D[] detections",
}

_TIME = "builtin_interfaces/Time timestamp"
_POSED = "geometry_msgs/Pose pose"
_FOXGLOVE = {
    "Point2": "float64 x; float64 y",
    "Color": "float64 r; float64 g; float64 b; float64 a",
    "KeyValuePair": "string key; string value",
    "CircleAnnotation": (
        f"{_TIME}; Point2 position; float64 diameter; float64 thickness; Color fill_color; Color outline_color;"
        " KeyValuePair[] metadata"
    ),
    "PointsAnnotation": (
        f"{_TIME}; uint8 UNKNOWN=0; uint8 POINTS=1; uint8 LINE_LOOP=2; uint8 LINE_STRIP=3; uint8 LINE_LIST=4;"
        " uint8 type; Point2[] points; Color outline_color; Color[] outline_colors; Color fill_color;"
        " float64 thickness; KeyValuePair[] metadata"
    ),
    "TextAnnotation": (
        f"{_TIME}; Point2 position; string text; float64 font_size; Color text_color; Color background_color;"
        " KeyValuePair[] metadata"
    ),
    "ImageAnnotations": (
        f"{_TIME}; CircleAnnotation[] circles; PointsAnnotation[] points; TextAnnotation[] texts;"
        " KeyValuePair[] metadata"
    ),
    "SceneEntityDeletion": f"{_TIME}; uint8 MATCHING_ID=0; uint8 ALL=1; uint8 type; string id",
    "ArrowPrimitive": (
        f"{_POSED}; float64 shaft_length; float64 shaft_diameter; float64 head_length; float64 head_diameter;"
        " Color color"
    ),
    "CubePrimitive": f"{_POSED}; geometry_msgs/Vector3 size; Color color",
    "SpherePrimitive": f"{_POSED}; geometry_msgs/Vector3 size; Color color",
    "CylinderPrimitive": (
        f"{_POSED}; geometry_msgs/Vector3 size; float64 bottom_scale; float64 top_scale; Color color"
    ),
    "LinePrimitive": (
        f"uint8 LINE_STRIP=0; uint8 LINE_LOOP=1; uint8 LINE_LIST=2; uint8 type; {_POSED}; float64 thickness;"
        " bool scale_invariant; geometry_msgs/Point[] points; Color color; Color[] colors; uint32[] indices"
    ),
    "TriangleListPrimitive": (f"{_POSED}; geometry_msgs/Point[] points; Color color; Color[] colors; uint32[] indices"),
    "TextPrimitive": (f"{_POSED}; bool billboard; float64 font_size; bool scale_invariant; Color color; string text"),
    "ModelPrimitive": (
        f"{_POSED}; geometry_msgs/Vector3 scale; Color color; bool override_color; string url; string media_type;"
        " uint8[] data"
    ),
    "SceneEntity": (
        f"{_TIME}; string frame_id; string id; builtin_interfaces/Duration lifetime; bool frame_locked;"
        " KeyValuePair[] metadata; ArrowPrimitive[] arrows; CubePrimitive[] cubes; SpherePrimitive[] spheres;"
        " CylinderPrimitive[] cylinders; LinePrimitive[] lines; TriangleListPrimitive[] triangles;"
        " TextPrimitive[] texts; ModelPrimitive[] models"
    ),
    "SceneUpdate": "SceneEntityDeletion[] deletions; SceneEntity[] entities",
}


OTHER_TYPES: dict[str, str] = {
    f"{package}/msg/{name}": fields.replace("; ", "\n")
    for package, types in (("vision_msgs", _VISION), ("foxglove_msgs", _FOXGLOVE))
    for name, fields in types.items()
}
"""Name of the type -> definition."""
